"""Real photographs as they came: `espalier init` describes them, and they can be prepared."""

from pathlib import Path

import pytest

from pipeline.base.yaml_file import read_yaml
from pipeline.data.intake.params import DataParams
from pipeline.data.intake.prepare import prepare
from pipeline.data.prepared.manifest import Manifest
from pipeline.init.init import write_fitting_params
from pipeline.schema import check_params
from tests.support.data_samples import REAL_DATA
from tests.support.places import ROOT

SIGNS = REAL_DATA / "signs"
CLOTHING = REAL_DATA / "clothing10"
BLOOD = REAL_DATA / "bccd/bccd_voc.zip"


def prepared(source: Path, root: Path) -> tuple[Manifest, str]:
    """What the stage prepare makes of a source for which params.yaml was written, and what was said of it."""
    (root / "data/raw").mkdir(parents=True)
    (root / "data/raw" / source.name).symlink_to(source)
    said = write_fitting_params(f"data/raw/{source.name}", root, ROOT / "presets", None)
    check_params(root / "params.yaml")
    data = DataParams.model_validate(read_yaml(root / "params.yaml")["data"])
    return prepare(data, root / data.source.path, root / "out", root / "card"), said


def rows(manifest: Manifest) -> dict[str, int]:
    return {name: split.rows for name, split in manifest.splits.items()}


@pytest.mark.skipif(not SIGNS.exists(), reason=f"needs photographs in {SIGNS}")
def test_a_folder_of_photographs(tmp_path: Path) -> None:
    manifest, said = prepared(SIGNS, tmp_path)
    assert "100 x 100 px" in said
    assert "rise through the classes in 220 runs, which stay together" in said
    assert "no flips: classes are single characters" in said
    assert sum(rows(manifest).values()) == 2062
    assert rows(manifest)["test"] == pytest.approx(400, abs=20), "as it was said"
    assert manifest.quarantined == {}


@pytest.mark.skipif(not CLOTHING.exists(), reason=f"needs photographs in {CLOTHING}")
def test_parquet_of_photographs(tmp_path: Path) -> None:
    manifest, said = prepared(CLOTHING, tmp_path)
    assert "372 test images: a top-1 of 0.9 has a standard error of 1.6 points" in said
    assert rows(manifest) == {"train": 510, "val": 90, "test": 372}
    assert manifest.splits["train"].images == "encoded"


@pytest.mark.skipif(not BLOOD.exists(), reason=f"needs photographs in {BLOOD}")
def test_a_zip_of_boxes(tmp_path: Path) -> None:
    manifest, said = prepared(BLOOD, tmp_path)
    assert "any of several classes, from column classes" in said
    assert rows(manifest) == {"train": 205, "val": 87, "test": 72}
