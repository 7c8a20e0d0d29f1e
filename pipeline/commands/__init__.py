"""What `espalier` can do: one file for each group of commands, and in it one function for each that adds its
parser.
"""
