"""How a process of ours starts, leaves temporary files, and ends."""
