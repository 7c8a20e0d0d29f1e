"""A smaller network in the place of the dense one."""
