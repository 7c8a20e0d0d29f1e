"""What a model is worth: its scores and its cost, measured on the test split."""
