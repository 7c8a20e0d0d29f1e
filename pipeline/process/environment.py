"""The environment may say where to run, never what to compute: what libraries obey is settled here, once.

Importing this module does that, so it is the first import of whatever starts as a process of ours
(tests/contract/test_imports.py); a library reads some of these variables while it is imported. It holds for
the process and for all that it starts. Kept is what says where, and on how much of a machine: addresses,
credentials, folders, devices, memory, numbers of threads (those of a training are the section `resources`).
From here on Ctrl-C ends without a traceback.
"""

import os
import sys
import warnings
from collections.abc import MutableMapping
from fnmatch import fnmatchcase
from types import TracebackType

CLEARED = {
    "ARROW_PRE_*": "writes shards in formats of old, with other bytes",
    "ATEN_*": "chooses torch's kernels, which round differently",
    "DNNL_*": "chooses oneDNN's kernels, and may round to bf16",
    "FBGEMM_*": "chooses kernels of quantized networks",
    "GIT_DIR": "makes git, for example within a hook, answer for another repository than the one that is "
    "here",
    "GIT_INDEX_FILE": "the same",
    "GIT_WORK_TREE": "the same",
    "MATPLOTLIBRC": "sets colours and sizes of pictures that are outs",
    "MKL_*": "chooses MKL's kernels and takes threads away when it thinks it better",
    "MLFLOW_ACTIVE_MODEL_ID": "files what is logged under something that we did not name",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "answers before it has stored, and the journal would count as delivered",
    "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "adds metrics that no stage reported",
    "MLFLOW_EXPERIMENT_ID": "files what is logged under something that we did not name",
    "MLFLOW_EXPERIMENT_NAME": "the same",
    "MLFLOW_LOCK_MODEL_DEPENDENCIES": "asks the network which versions a model needs",
    "MLFLOW_LOG_MODEL_COMPRESSION": "stores a model in another form",
    "MLFLOW_REGISTRY_URI": "sends versions elsewhere than runs; MLFLOW_TRACKING_URI says where both go",
    "MLFLOW_RUN_CONTEXT": "adds tags that no stage reported",
    "MLFLOW_RUN_ID": "files what is logged under something that we did not name",
    "NPY_*": "chooses numpy's kernels and its rules for types",
    "NVIDIA_TF32_OVERRIDE": "overrules which precision a matrix product has",
    "OMP_DYNAMIC": "gives a training fewer threads than `resources` says, as the load has it",
    "OMP_THREAD_LIMIT": "gives a training fewer threads than `resources` says",
    "ONEDNN_*": "chooses oneDNN's kernels, and may round to bf16",
    "OPENBLAS_CORETYPE": "chooses OpenBLAS's kernels",
    "ORT_*": "chooses onnxruntime's kernels and options",
    "PYTHONOPTIMIZE": "takes assertions out of what we start",
    "PYTHONWARNINGS": "ends a library's import if a warning is an error; a library warns of itself",
    "PYTORCH_*": "chooses torch's kernels and precision",
    "QUANTIZATION_DEBUG": "leaves files of onnxruntime's quantizer behind",
    "SKLEARN_*": "chooses what scikit-learn checks",
    "TIMM_*": "chooses timm's layers",
    "TORCHDYNAMO_*": "changes how a network is traced for its export",
    "TORCHINDUCTOR_*": "the same",
    "TORCH_*": "chooses torch's kernels, precision and what it takes from a file",
}
"""Names or patterns of variables that are taken away, and what each would decide."""

KEPT_VARIABLES = (
    "MKL_NUM_THREADS",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
    "TORCH_CPP_LOG_LEVEL",
    "TORCH_DISTRIBUTED_DEBUG",
    "TORCH_FR_*",
    "TORCH_HOME",
    "TORCH_LOGS",
    "TORCH_NCCL_*",
)
"""Exceptions: these say where, how much, or what is logged."""

SET = {
    "DVC_NO_ANALYTICS": "1",  # as .dvc/config says for this project; what DVC is started on may be another
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",  # true by default: a foreign model could run code here
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MPLBACKEND": "agg",  # a notebook's own is a module that the stage's Python may lack
    # else its import writes an id of this machine and looks up Microsoft's servers (1.31)
    "ORT_DISABLE_TELEMETRY": "1",
    # below `uv run` Ray would start workers in an environment of uv's choice
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_TRAIN_V2_ENABLED": "1",  # ours; the one before has other classes by the same names
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9/",  # else `ray start` reports that it reports nothing
}
"""Variables that have one value, whatever they had. With those of telemetry, nothing leaves the machine."""


def settle_environment(environment: MutableMapping[str, str]) -> None:
    """Take away what is in CLEARED, and set what is in SET."""
    for name in list(environment):
        if _matches(name, CLEARED) and not _matches(name, KEPT_VARIABLES):
            del environment[name]
    environment.update(SET)


def _matches(name: str, patterns: "dict[str, str] | tuple[str, ...]") -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _warn_as_python_does() -> None:
    """Undo what PYTHONWARNINGS did to this process before its first line."""
    if "PYTHONWARNINGS" in os.environ:
        warnings.resetwarnings()
        for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", category)


def _end_quietly(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Ctrl-C before anything was begun, such as while libraries are imported, is no error in this program."""
    if issubclass(kind, KeyboardInterrupt):
        sys.stderr.write("espalier: interrupted\n")
    else:
        sys.__excepthook__(kind, error, trace)


_warn_as_python_does()
settle_environment(os.environ)
sys.excepthook = _end_quietly
