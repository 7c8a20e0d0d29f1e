"""What pruning must know of this machine: roundings and latencies, timed."""
