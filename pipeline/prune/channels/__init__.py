"""Which channels go, and how many."""
