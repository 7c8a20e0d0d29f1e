"""The way of a job to workers on other disks, and of its result back."""
