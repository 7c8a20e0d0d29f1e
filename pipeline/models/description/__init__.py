"""What a model is, as JSON."""
