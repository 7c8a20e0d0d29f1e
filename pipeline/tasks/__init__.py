"""What a model is trained for: loss and metrics of one kind of problem per file."""
