"""Shards and manifest: what is written comes back, by whatever shard boundary, and damage is named."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.base.files import sha256_file
from pipeline.base.records import sealed_json, unsealed
from pipeline.data.fields.field import LABEL, PIXELS, AnyField
from pipeline.data.fields.image import ImageField, Pixels
from pipeline.data.fields.one_class import ClassField
from pipeline.data.prepared import shards as reading
from pipeline.data.prepared.manifest import (
    MANIFEST,
    Manifest,
    SourceInfo,
    SplitInfo,
    read_manifest,
    write_manifest,
)
from pipeline.data.prepared.reader import ResidentSplit, Split, normalise
from pipeline.data.prepared.send import sent
from pipeline.data.prepared.shards import Rows, Table, origins, write_shards
from pipeline.errors import DataError
from tests.support.data_samples import STRETCH

HEIGHT, WIDTH, CHANNELS = 2, 3, 3
ROWS = 11
FIELDS: dict[str, AnyField] = {
    PIXELS: ImageField(
        height=HEIGHT,
        width=WIDTH,
        channels=CHANNELS,
        resize=STRETCH,
        sixteen_bit="refuse",
        mean=[0.5] * 3,
        std=[0.1] * 3,
    ),
    LABEL: ClassField(classes=["cat", "dog"]),
}


def pixels() -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (ROWS, HEIGHT * WIDTH * CHANNELS), np.uint8)


def table() -> Table:
    columns: dict[str, Rows] = {PIXELS: pixels(), LABEL: np.arange(ROWS) % 2}
    return Table(FIELDS, columns, origins(["t.parquet"] * ROWS, [10 * row for row in range(ROWS)]))


def write(folder: Path, shard_rows: int = 4) -> Path:
    """A split "train" of all rows."""
    shards = write_shards(folder, "train", table(), np.arange(ROWS), shard_rows)
    manifest = Manifest(
        fields=FIELDS,
        splits={"train": SplitInfo(rows=ROWS, counts={"label": [6, 5]}, shards=shards)},
        source=SourceInfo(name="t.parquet", sha256="0", left_out={}),
        quarantined={},
        duplicates={},
    )
    write_manifest(folder, manifest)
    return folder


@pytest.fixture(scope="module", params=[1, 4, ROWS], ids=lambda rows: f"{rows}_rows_a_shard")
def split(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Split:
    return Split.open(write(tmp_path_factory.mktemp("data"), request.param), "train")


@settings(max_examples=30, deadline=None, derandomize=True)
@given(indices=st.lists(st.integers(0, ROWS - 1), max_size=20))
def test_images_come_back_in_the_order_asked(split: Split, indices: list[int]) -> None:
    images_BCHW = split.images(torch.tensor(indices, dtype=torch.int64))
    expected = pixels()[indices].reshape(-1, HEIGHT, WIDTH, CHANNELS)
    assert images_BCHW.permute(0, 2, 3, 1).numpy().tolist() == expected.tolist()


def test_images_are_fresh_writable_and_channels_last(split: Split) -> None:
    images = split.images(torch.tensor([1, 5, 1]))
    assert images.shape == (3, CHANNELS, HEIGHT, WIDTH)
    assert images.is_contiguous(memory_format=torch.channels_last)
    images.zero_()
    assert split.images(torch.tensor([1])).any(), "the mapped file must not change"


def test_a_resident_split_gives_the_same_from_memory(split: Split) -> None:
    resident = ResidentSplit(split, "cpu")
    rows = torch.tensor([10, 0, 7, 7])
    batch = resident.batch(rows, "cpu")
    images, labels = batch.inputs["pixels"], batch.targets["label"]
    assert images.equal(split.images(rows))
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert labels.equal(split.targets["label"][rows])
    assert resident.targets["label"].equal(split.targets["label"])
    assert len(resident) == len(split)
    assert split.size_bytes == ROWS * HEIGHT * WIDTH * CHANNELS


def test_labels_and_length(split: Split) -> None:
    assert len(split) == ROWS
    assert split.targets["label"].tolist() == [row % 2 for row in range(ROWS)]
    assert split.targets["label"].dtype == torch.int64


def test_pickle_holds_the_path_alone(split: Split) -> None:
    content = pickle.dumps(split)
    assert len(content) < 1000
    assert pickle.loads(content).images(torch.arange(ROWS)).equal(split.images(torch.arange(ROWS)))


@pytest.mark.parametrize("index", [-1, ROWS])
def test_row_outside_the_split(split: Split, index: int) -> None:
    with pytest.raises(IndexError, match=rf"rows {index}..{index} asked of a split with rows 0..10"):
        split.images(torch.tensor([index]))


def test_shards_hold_where_each_row_came_from(tmp_path: Path) -> None:
    shards = write_shards(tmp_path, "val", table(), np.array([3, 7, 8]), 2)
    assert [(shard.file, shard.rows) for shard in shards] == [("val-00000.arrow", 2), ("val-00001.arrow", 1)]
    second = pa.ipc.open_file(tmp_path / "val-00001.arrow").read_all()
    assert second.select(["file", "row", "label"]).to_pylist() == [
        {"file": "t.parquet", "row": 80, "label": 0}
    ]


def test_unknown_split_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no split 'trian'; did you mean 'train'"):
        Split.open(write(tmp_path), "trian")


def test_missing_shard(tmp_path: Path) -> None:
    (write(tmp_path) / "train-00001.arrow").unlink()
    with pytest.raises(DataError, match=r"train-00001.arrow: not a readable shard .*dvc repro -f -s prepare"):
        Split.open(tmp_path, "train")


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("place", [0, 300, -300, -1])
def test_a_flipped_bit_of_a_shard_is_named_also_after_a_good_look(tmp_path: Path, place: int) -> None:
    shard = write(tmp_path) / "train-00001.arrow"
    Split.open(tmp_path, "train")
    flip(shard, place)
    with pytest.raises(
        DataError, match=r"train-00001.arrow: its SHA-256 is not the manifest's.*dvc repro -f -s prepare"
    ):
        Split.open(tmp_path, "train")


def test_a_shard_is_read_once_in_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path)
    read: list[Path] = []

    def counted(path: Path) -> str:
        read.append(path)
        return sha256_file(path)

    monkeypatch.setattr(reading, "sha256_file", counted)
    Split.open(tmp_path, "train")
    Split.open(tmp_path, "train")
    assert [path.name for path in read] == [f"train-0000{number}.arrow" for number in range(3)]


def reseal(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Edit the manifest as somebody would who makes its seal again."""
    record = unsealed((folder / MANIFEST).read_bytes())
    change(record)
    (folder / MANIFEST).write_text(sealed_json(record))


@pytest.mark.parametrize("content", [b"", b"not arrow"])
def test_foreign_shard(tmp_path: Path, content: bytes) -> None:
    shard = write(tmp_path) / "train-00001.arrow"
    shard.write_bytes(content)
    reseal(tmp_path, lambda record: record["splits"]["train"]["shards"][1].update(sha256=sha256_file(shard)))
    with pytest.raises(DataError, match=r"train-00001.arrow: not a readable shard .*dvc repro -f -s prepare"):
        Split.open(tmp_path, "train")


@pytest.mark.parametrize(
    "name",
    ["../train-00000.arrow", "/train-00000.arrow", "x/train-00000.arrow", "..", "", "x\\a-00000.arrow"],
)
def test_a_shard_outside_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path)
    reseal(tmp_path, lambda record: record["splits"]["train"]["shards"][0].update(file=name))
    with pytest.raises(DataError, match=r"manifest.json: splits.train.shards.0.file: String should match"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("label", [-1, 2])
def test_a_label_out_of_range_is_named(tmp_path: Path, label: int) -> None:
    good = table()
    labels = np.arange(ROWS) % 2
    labels[6] = label
    wrong = good._replace(columns={PIXELS: good.columns[PIXELS], LABEL: labels})
    written = write_shards(write(tmp_path), "train", wrong, np.arange(ROWS), 4)
    reseal(
        tmp_path,
        lambda record: record["splits"]["train"].update(shards=[info.model_dump() for info in written]),
    )
    with pytest.raises(DataError, match=rf"train-00001.arrow: row 2: label {label}, but there are 2 classes"):
        Split.open(tmp_path, "train")


def test_an_edited_manifest_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path) / MANIFEST
    path.write_text(path.read_text().replace('"cat"', '"cow"'))
    with pytest.raises(
        DataError, match=r"manifest.json: its content is not what its seal says.*dvc repro -f -s prepare"
    ):
        read_manifest(tmp_path)


def test_shard_of_another_size(tmp_path: Path) -> None:
    write(tmp_path)
    written = write_shards(tmp_path, "train", table(), np.arange(3), 4)
    reseal(tmp_path, lambda record: record["splits"]["train"]["shards"][0].update(sha256=written[0].sha256))
    with pytest.raises(DataError, match=r"train-00000.arrow: 3 rows, but the manifest says 4"):
        Split.open(tmp_path, "train")


def test_missing_manifest(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"manifest.json does not exist; run `dvc repro prepare`"):
        read_manifest(tmp_path)


def test_malformed_manifest_names_the_key(tmp_path: Path) -> None:
    path = write(tmp_path) / MANIFEST
    reseal(tmp_path, lambda record: record["fields"]["pixels"].update(height="two"))
    with pytest.raises(DataError, match=r"manifest.json: fields.pixels.image.height: .*integer"):
        read_manifest(tmp_path)
    path.write_text("{")
    with pytest.raises(DataError, match=r"manifest.json: not valid JSON"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("channels", [1, 3])
def test_normalise_follows_its_formula_in_channels_last(channels: int) -> None:
    images = torch.arange(4 * channels * 6 * 5).remainder(256).to(torch.uint8).view(4, channels, 6, 5)
    mean, std = torch.linspace(0.2, 0.6, channels), torch.linspace(0.1, 0.3, channels)
    result = normalise(images, mean, std)
    expected = (images.double() / 255 - mean.double()[:, None, None]) / std.double()[:, None, None]
    assert result.dtype == torch.float32
    assert result.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(result.double(), expected, atol=1e-5, rtol=1e-5)
    assert images.dtype == torch.uint8


def test_nothing_is_copied_on_the_way_to_the_cpu(split: Split) -> None:
    rows = torch.tensor([3, 1])
    assert sent(rows, "cpu") is rows
    batch = split.batch(rows, "cpu")
    assert batch.rows is rows
    assert batch.inputs["pixels"].equal(split.images(rows))
    assert batch.targets["label"].equal(split.targets["label"][rows])
    assert batch.to("cpu").inputs["pixels"] is batch.inputs["pixels"]
