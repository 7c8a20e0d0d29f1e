"""Smaller and faster models: cost, pruning, export and quantization."""
