"""Annotations of boxes, for now as what a picture shows: which classes, the largest, how many."""
