"""How fast this CPU is in bf16: some have no instructions for it, or slower ones than for float32."""

import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

TIMED_SHAPE = (16, 64, 16, 16)
TIMED_TURNS = 4
SLOW = 0.8


def slow_bf16(amp: str, device: str, measure: Callable[[], float] | None = None) -> str:
    """What to say to a user whose training would be faster without autocast; else empty.

    Measured, since a CPU's flags do not tell: with avx512_bf16 and no AMX a net like ResNet-20 trained at
    0.75 of the speed. measure: gives the ratio of the speeds, by itself bf16_to_float32.
    """
    if device != "cpu" or amp != "bf16" or (rate := (measure or bf16_to_float32)()) > SLOW:
        return ""
    return (
        f"bf16 has {rate:.2g} of the speed of float32 on this CPU (convolutions): amp: off trains faster, to "
        "other weights"
    )


def bf16_to_float32() -> float:
    """Ratio of the speeds of a 3x3 convolution on one thread, by turns; takes a tenth of a second.

    In CPU time of that thread, so that other work on the machine hardly matters.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        _seconds(torch.bfloat16), _seconds(torch.float32)
        turns = [(_seconds(torch.bfloat16), _seconds(torch.float32)) for _ in range(TIMED_TURNS)]
    finally:
        torch.set_num_threads(threads)
    return min(wide for _, wide in turns) / min(narrow for narrow, _ in turns)


@torch.no_grad()
def _seconds(dtype: torch.dtype) -> float:
    # Not random: the training's numbers come from the same generator.
    images: Tensor = torch.ones(TIMED_SHAPE, dtype=dtype).contiguous(memory_format=torch.channels_last)
    weight_OIKK = torch.ones(TIMED_SHAPE[1], TIMED_SHAPE[1], 3, 3, dtype=dtype).contiguous(
        memory_format=torch.channels_last
    )
    start = time.thread_time()
    F.conv2d(images, weight_OIKK, padding=1)
    return time.thread_time() - start
