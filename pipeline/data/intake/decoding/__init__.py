"""Every row of a source decoded once, piece by piece, in processes that a bad file may end."""
