"""Copies from the host's memory to the device that trains, for which neither of the two waits."""

from functools import cache

import torch
from torch import Tensor


def sent(tensor: Tensor, device: torch.device | str) -> Tensor:
    """A tensor of the host on `device`; the tensor itself if that is the CPU.

    The copy starts from pinned memory in a stream of its own, beside what the device still computes. That
    makes it a copy ahead of time without asking for a batch ahead of time: nothing in a step makes the host
    wait, so it is about a step ahead.
    """
    if torch.device(device).type == "cpu":
        return tensor
    copying, computing = _copying_stream(), torch.cuda.current_stream()
    with torch.cuda.stream(copying):
        copy = tensor.pin_memory().to(device, non_blocking=True)
    computing.wait_stream(copying)
    copy.record_stream(computing)  # else its memory could be given away before the step that reads it
    return copy


@cache
def _copying_stream() -> torch.cuda.Stream:
    """Stream for copies of this process, which has one device."""
    return torch.cuda.Stream()  # type: ignore[no-untyped-call]
