"""torch-pruning without the imports that it does not need.

Its counter of operations asks for timm, which brings torchvision and torch's compiler: 4 s of the prune
stage for a class that is not used here. It works without, so for the time of its import there is no timm.
"""

import sys

ABSENT = "timm" not in sys.modules
if ABSENT:
    sys.modules["timm"] = None  # type: ignore[assignment]
try:
    import torch_pruning
finally:
    if ABSENT:
        del sys.modules["timm"]

__all__ = ["torch_pruning"]
