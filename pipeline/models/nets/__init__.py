"""Networks of a width, and the way from a description to one of them: built dense, then cut to its plan."""
