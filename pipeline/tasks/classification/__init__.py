"""One class of K for each example."""
