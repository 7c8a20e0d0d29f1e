"""Which row is train, val or test: rules as data, and a file for each way to follow them."""
