"""What the command line does, a module for each command; `__main__` calls them, `options` says how they are called."""
