print("joulectl")
