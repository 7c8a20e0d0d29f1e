"""`espalier repro`: `dvc repro`, with stages that do not need each other side by side."""
