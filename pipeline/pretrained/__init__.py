"""Weights to start from, and teachers, brought to data/."""
