"""Prepared data on disk: Arrow shards, their manifest, and batches read from them."""
