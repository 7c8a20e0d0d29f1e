"""Tables and pictures of the answers to each kind of problem."""
