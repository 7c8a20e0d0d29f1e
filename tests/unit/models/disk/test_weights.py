"""Every built-in network, pruned, answers with the same bits in a process that has its model.json and weights
alone.
"""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.optim.swa_utils import update_bn

from benchmarks.rebuilt import digests_elsewhere, logits_digest
from pipeline.data.prepared.reader import Split
from pipeline.export.onnx import export_onnx
from pipeline.export.outputs import onnx_outputs, torch_outputs
from pipeline.export.parity import parity
from pipeline.export.session import OnnxModel
from pipeline.models.cost import count_macs
from pipeline.models.disk.artifact import read_spec
from pipeline.models.disk.weights import load_model
from pipeline.models.nets.build import BUILDERS, example
from pipeline.models.nets.cut import apply_plan
from pipeline.prune.batch_norm import renew_statistics
from pipeline.prune.prune import prune
from tests.support.compress_samples import (
    EXAMINER,
    TASK,
    fixed_profile,
    network,
    prepared_data,
    prune_params,
    saved,
    spec_of,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared_data(tmp_path_factory.mktemp("data"))


def pruned_digest(name: str, data: Path, folder: Path) -> str:
    """Prune to half the MACs; returns what the network in memory answers when cut likewise, by the plan that
    was saved.
    """
    spec = spec_of(name)
    dense = network(spec)
    # Else the signal of an untrained MobileNet vanishes in its norms.
    update_bn([example(spec, 32, seed=0)], dense)
    saved(folder / "dense", spec, dense)
    params = prune_params()
    prune(folder / "dense", data, folder / "pruned", params, fixed_profile(), TASK)
    cut = apply_plan(copy.deepcopy(dense), read_spec(folder / "pruned").plan)
    renew_statistics(cut, spec, Split.open(data, "train"), params)
    assert count_macs(cut, example(spec, 1)) <= 0.5 * count_macs(dense, example(spec, 1))
    return logits_digest(cut, spec)


def test_in_a_fresh_process_all_answer_with_the_same_bits(data: Path, tmp_path: Path) -> None:
    here = {name: pruned_digest(name, data, tmp_path / name) for name in BUILDERS}
    assert len(set(here.values())) == len(BUILDERS)
    there = digests_elsewhere([tmp_path / name / "pruned" for name in here], torch.get_num_threads())
    assert dict(zip(here, there, strict=True)) == here


def test_the_file_of_a_pruned_network_answers_as_it_does(data: Path, tmp_path: Path) -> None:
    pruned_digest("airbench", data, tmp_path)
    spec, model = load_model(tmp_path / "pruned")
    export_onnx(spec, model, tmp_path / "model.onnx")
    test = Split.open(data, "test")
    rows = torch.arange(len(test))
    outputs = torch_outputs(model, spec, test, rows, len(test))
    by_file = onnx_outputs(OnnxModel(tmp_path / "model.onnx", threads=1), test, rows, len(test))
    found = parity(outputs, by_file, EXAMINER, against="the torch model")
    (expected,) = outputs.values()
    assert np.ptp(expected) > 0.1
    assert found.max_diff < 1e-5 * np.abs(expected).max()
    assert found.agreement == 1.0
