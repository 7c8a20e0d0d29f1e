"""A model on disk: model.json and its weights."""
