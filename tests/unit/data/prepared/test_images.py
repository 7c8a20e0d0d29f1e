"""Splits whose images are encoded: final pixels, random crops, and what stands in the manifest."""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from pipeline.base.records import sealed_json, unsealed
from pipeline.data.intake.prepare import prepare
from pipeline.data.prepared.manifest import MANIFEST, read_manifest
from pipeline.data.prepared.reader import Split
from pipeline.errors import DataError
from pipeline.images.crop import CropDraw
from pipeline.images.pixels import pixels
from pipeline.models.disk.artifact import read_spec
from pipeline.models.disk.weights import save_model
from pipeline.models.nets.build import rebuild
from pipeline.train.job import dense_spec
from tests.support.data_samples import data_params, encoded, parquet_source, photo, write_table
from tests.support.fit_samples import CLASSIFICATION, MLP

SIDE = 16
FIT = {"rule": "fit", "filter": "bilinear"}
STORE = {"kind": "encoded", "shorter_side": 24, "quality": 90}
PHOTOS = 20
WHOLE = CropDraw(area=1.0, least=0.0, most=0.0, shape=0.5, left=0.0, top=0.0)


FILES = [encoded(photo(number, 40 + 3 * number, 60), "JPEG", quality=95) for number in range(PHOTOS)]


def made(folder: Path, kind: str = "encoded", **changes: Any) -> Path:
    """Prepared photographs of several sizes, with few rows a shard. changes: of the section `data`."""
    table = write_table(folder / "t.parquet", FILES, [number % 2 for number in range(PHOTOS)])
    params = data_params(
        source=parquet_source(),
        height=SIDE,
        width=SIDE,
        store=STORE if kind == "encoded" else {"kind": kind},
        shard_rows=3,
        **({"resize": FIT} | changes),
    )
    prepare(params, table, folder / kind, folder / f"{kind}-card")
    return folder / kind


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def train(folder: Path) -> Split:
    return Split.open(folder, "train")


def test_train_is_encoded_and_the_rest_is_as_if_it_were_not(folder: Path) -> None:
    manifest, plain = read_manifest(folder), made(folder.parent, "pixels")
    assert {name: split.images for name, split in manifest.splits.items()} == {
        "train": "encoded",
        "val": "pixels",
        "test": "pixels",
    }
    assert manifest.image == read_manifest(plain).image, "statistics are of final pixels"
    for name in ("val", "test"):
        for shard in manifest.splits[name].shards:
            assert (folder / shard.file).read_bytes() == (plain / shard.file).read_bytes()
    rows = torch.arange(len(Split.open(folder, "train")))
    final, original = (Split.open(each, "train").images(rows).float() for each in (folder, plain))
    assert (final - original).abs().mean() < 7, "the same pictures, encoded once more"


def test_final_pixels_are_those_of_the_one_function(folder: Path, train: Split) -> None:
    shard = pa.ipc.open_file(pa.memory_map(str(folder / "train-00001.arrow"))).get_batch(0)
    files = shard.column("pixels").to_pylist()
    rule = read_manifest(folder).image.rule
    found = train.images(torch.arange(3, 6)).permute(0, 2, 3, 1)
    assert found.tolist() == [pixels(file, rule).tolist() for file in files]
    assert train.is_encoded
    assert all(min(Image.open(io.BytesIO(file)).size) == 24 for file in files)


def test_rows_come_in_any_order_alone_or_together(train: Split) -> None:
    rows = torch.tensor([7, 0, 7, 3])
    alone = torch.cat([train.images(row[None]) for row in rows])
    assert train.images(rows).equal(alone)
    assert pickle.loads(pickle.dumps(train)).images(rows).equal(alone)
    assert train.images(torch.tensor([], dtype=torch.int64)).shape == (0, 3, SIDE, SIDE)
    with pytest.raises(IndexError, match="rows 12"):
        train.images(torch.tensor([len(train)]))


def test_one_image_is_whole_or_a_box_of_it(folder: Path, train: Split) -> None:
    plain, half = Split.open(made(folder.parent, "pixels"), "train"), SIDE // 2
    for split in (train, plain):
        for row, whole in enumerate(split.images(torch.arange(len(split))).permute(0, 2, 3, 1).numpy()):
            assert (split.made(row, None) == whole).all()
    quarter = WHOLE._replace(area=0.25, left=1.0, top=1.0)
    for row, whole in enumerate(plain.images(torch.arange(len(plain))).permute(0, 2, 3, 1).numpy()):
        assert (plain.made(row, WHOLE) == whole).all()
        shrunk = plain.made(row, quarter).reshape(half, 2, half, 2, 3).mean(axis=(1, 3))
        assert np.abs(shrunk - whole[half:, half:]).mean() < 8
    assert train.made(0, quarter).shape == (SIDE, SIDE, 3)


def test_a_train_split_of_other_images_than_the_manifest_says_is_damaged(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "copy").mkdir()
    for file in folder.iterdir():
        (tmp_path / "copy" / file.name).write_bytes(file.read_bytes())
    values = unsealed((folder / MANIFEST).read_bytes())
    for split, told in (("train", "pixels"), ("val", "encoded")):
        changed = {
            **values,
            "splits": {**values["splits"], split: {**values["splits"][split], "images": told}},
        }
        (tmp_path / "copy" / MANIFEST).write_text(sealed_json(changed))
        with pytest.raises(DataError, match=r"but the manifest says (768 bytes|encoded images)"):
            Split.open(tmp_path / "copy", split)


@pytest.mark.parametrize(
    "resize",
    [
        FIT,
        FIT | {"rule": "stretch"},
        {"rule": "pad", "filter": "box"},
        {"rule": "crop", "size": 20, "filter": "lanczos"},
    ],
    ids=lambda resize: resize["rule"],
)
def test_model_json_and_a_file_give_the_pixels_that_evaluation_reads(
    resize: dict[str, Any], tmp_path: Path
) -> None:
    """From the original file, by what the model's own description says, read from the disk."""
    folder = made(tmp_path, resize=resize)
    spec = dense_spec(MLP, CLASSIFICATION, folder)
    save_model(tmp_path / "model", spec, rebuild(spec))
    rule, test = read_spec(tmp_path / "model").image_rule, Split.open(folder, "test")
    rows = [
        row
        for shard in read_manifest(folder).splits["test"].shards
        for row in pa.ipc.open_file(folder / shard.file).get_batch(0).column("row").to_pylist()
    ]
    found = test.images(torch.arange(len(test))).permute(0, 2, 3, 1).numpy()
    assert len(rows) == len(found) > 2
    for row, image in zip(rows, found, strict=True):
        assert (pixels(FILES[row], rule) == image).all()
