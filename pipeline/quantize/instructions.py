"""Whether this CPU has the instructions that make int8 worth while."""

from pathlib import Path

from pipeline.errors import CompressionError
from pipeline.quantize.params import QuantizeParams

CPUINFO = Path("/proc/cpuinfo")
DOT_PRODUCTS = {"flags": ("avx512_vnni", "avx_vnni", "amx_int8"), "Features": ("asimddp", "i8mm")}
"""Any of them will do; by the line of /proc/cpuinfo that lists what an x86 or an ARM CPU has."""


def check_int8(params: QuantizeParams, cpuinfo: Path = CPUINFO) -> None:
    """Raises CompressionError if 8-bit sums are asked for and the CPU is known to lack them."""
    if params.mode == "weight_only" or params.reduce_range:
        return
    lines = (
        [line.partition(":") for line in cpuinfo.read_text(encoding="utf-8").splitlines()]
        if cpuinfo.exists()
        else []
    )
    found = {name.strip(): value for name, _, value in lines}
    for kind, wanted in DOT_PRODUCTS.items():
        if kind in found and not set(found[kind].split()) & set(wanted):
            raise CompressionError(
                f"quantize.mode is {params.mode}, but this CPU ({found.get('model name', kind).strip()}) has "
                f"none of {', '.join(wanted)}: its sums of 8-bit products saturate or are no faster than "
                "floats. Set quantize.reduce_range to true for 7-bit weights, which are right on every CPU, "
                "or quantize.mode to weight_only, or run on another CPU"
            )
