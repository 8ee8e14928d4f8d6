JouledCommand.main()
