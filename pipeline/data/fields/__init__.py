"""What an example is made of: a file for each kind of column."""
