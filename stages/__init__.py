"""One entry file per DVC stage, run as `python -m stages.<name>`."""
