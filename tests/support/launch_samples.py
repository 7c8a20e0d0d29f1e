"""Where a training runs, as tests ask for it."""

from pipeline.launch.resources import Resources


def resources(**changes: object) -> Resources:
    values = {
        "workers": 2,
        "min_workers": None,
        "threads_per_worker": 2,
        "device": "auto",
        "accelerator": None,
        "placement": "spread",
        "address": None,
        "storage": None,
        "await_nodes_s": 60.0,
        "max_failures": 0,
        "checkpoint_s": 30.0,
        "show_ray_logs": False,
    }
    return Resources.model_validate(values | changes)


SMALL = {"CPU": 2.0}
"""A node without a GPU."""
GPU = {"CPU": 8.0, "GPU": 1.0}
"""A node with a GPU."""
