"""Kinds of sources: the parameters of each, and which of the readers opens it."""
