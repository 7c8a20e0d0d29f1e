"""What is right for a row, from the columns of a source: a file for each kind of field."""
