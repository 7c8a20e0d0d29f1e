"""What the environment may not decide. Each twin is the same program without the import that settles it."""

import ast
import json
import os
import subprocess
import sys

import pytest

from pipeline.process.environment import CLEARED, KEPT_VARIABLES, SET, settle_environment
from tests.support.places import ROOT

COMPUTE = """
import sys
if sys.argv[1] == "settled":
    import pipeline.process.environment
import hashlib, io, json
import pyarrow as pa
import torch

def digest(content): return hashlib.sha256(content).hexdigest()

shard = io.BytesIO()
table = pa.table({"label": [1, 2]})
with pa.ipc.new_file(shard, table.schema) as writer:
    writer.write(table)
generator = torch.Generator().manual_seed(0)
image, kernels = torch.randn(1, 1, 64, 64, generator=generator), torch.randn(8, 1, 3, 3, generator=generator)
found = {
    "shard": digest(shard.getvalue()),
    "matrix product": digest((image @ image).numpy().tobytes()),
    "convolution": digest(torch.nn.functional.conv2d(image, kernels).numpy().tobytes()),
}
print(json.dumps(found))
"""
DECIDES = {
    "ARROW_PRE_0_15_IPC_FORMAT": "1",
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "COMPATIBLE",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
}
ENDS = {
    "MPLBACKEND": ("module://matplotlib_inline.backend_inline", "import pipeline.data.intake.card"),
    "NPY_DISABLE_CPU_FEATURES": (
        "NEVER_HEARD_OF",
        "import warnings; warnings.simplefilter('error'); import numpy",
    ),
    "PYTHONWARNINGS": ("error", "import warnings; warnings.warn('of itself', DeprecationWarning)"),
}
"""Variables with a value, and a program that ends in a traceback because of it."""


def started(code: str, *words: str, **environment: str) -> "subprocess.Popen[str]":
    clean = {name: value for name, value in os.environ.items() if name not in {*DECIDES, *ENDS}}
    return subprocess.Popen(
        [sys.executable, "-c", code, *words],
        cwd=ROOT,
        env={**clean, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_only_what_decides_is_taken_away() -> None:
    where = {
        "CUDA_VISIBLE_DEVICES": "1",
        "MKL_NUM_THREADS": "2",
        "MLFLOW_TRACKING_URI": "http://host:5000",
        "OMP_NUM_THREADS": "2",
        "PYTORCH_ALLOC_CONF": "expandable_segments:True",
        "RAY_ADDRESS": "host:6379",
        "TORCH_HOME": "/cache",
        "TORCH_NCCL_TRACE_BUFFER_SIZE": "0",
    }
    environment = where | {name.replace("*", "X"): "1" for name in CLEARED} | {"MPLBACKEND": "qtagg"}
    settle_environment(environment)
    assert environment == where | SET


def test_what_is_kept_would_otherwise_be_taken_away() -> None:
    environment = {name.replace("*", "X"): "1" for name in KEPT_VARIABLES}
    assert not [
        name for name in environment if not any(name.startswith(family.rstrip("*")) for family in CLEARED)
    ]


def test_the_same_numbers_and_bytes_in_every_environment() -> None:
    twins = [started(COMPUTE, word, **DECIDES) for word in ("settled", "as it is")]
    told = [process.communicate() for process in (started(COMPUTE, "as it is"), *twins)]
    expected, found, other = (json.loads(out or err) for out, err in told)
    assert found == expected
    assert other["shard"] != expected["shard"]
    if os.uname().machine == "x86_64":
        assert other["matrix product"] != expected["matrix product"]
        assert other["convolution"] != expected["convolution"]


@pytest.mark.parametrize("name", sorted(ENDS))
def test_nothing_ends_in_a_traceback_of_a_library(name: str) -> None:
    value, code = ENDS[name]
    settled, twin = (
        started(f"import pipeline.process.environment\n{code}", **{name: value}),
        started(code, **{name: value}),
    )
    assert settled.communicate() == ("", "")
    assert "Traceback" in twin.communicate()[1]


def test_no_text_is_read_or_written_as_the_locale_says() -> None:
    """In a shell of ISO-8859-1 a class or a folder with other letters would end a training, or come back as
    others.
    """
    calls = [
        (path, node)
        for path in (ROOT / "pipeline").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"read_text", "write_text"}
    ]
    assert len(calls) > 20
    assert [
        f"{path}:{node.lineno}"
        for path, node in calls
        if "encoding" not in {word.arg for word in node.keywords}
    ] == []
