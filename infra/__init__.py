"""Where the pipeline runs: a local cluster of several nodes."""
