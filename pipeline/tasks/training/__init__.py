"""Loss and metrics of each kind of problem, while it is trained."""
