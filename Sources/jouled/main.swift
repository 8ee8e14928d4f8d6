print("jouled")
