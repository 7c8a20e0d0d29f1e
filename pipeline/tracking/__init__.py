"""Delivery of journals to MLflow: found by key, never doubled, never in the way."""
