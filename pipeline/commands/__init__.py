"""What `espalier` can do: a file for each group of commands, a function for each that adds its parser."""
