"""Prepared data: read a source, check every row, write Arrow shards, batch them as tensors."""
