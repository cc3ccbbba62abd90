"""The command line: `parsers` reads the arguments of a command, and its module here has `run(options)`."""
