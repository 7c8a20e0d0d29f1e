"""Networks that can be rebuilt from JSON, and the model on disk."""
