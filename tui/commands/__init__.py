"""The verbs of the command line, one module for each family; imported when one of them is called."""
