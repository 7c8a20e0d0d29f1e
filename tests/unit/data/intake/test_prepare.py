"""prepare from source to outs: counts, quarantine, repeatable bytes, and outs that survive an error."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from pipeline.data.intake.prepare import prepare
from pipeline.data.prepared.manifest import Manifest, read_manifest
from pipeline.data.prepared.reader import Split
from pipeline.data.prepared.shards import read_slices
from pipeline.errors import DataError, EspalierError
from tests.support.data_samples import (
    DIGITS,
    REAL_DATA,
    data_params,
    encoded,
    good_table,
    parquet_source,
    pixels,
    png,
    write_table,
)

Prepare = Callable[..., Manifest]


@pytest.fixture
def run(tmp_path: Path) -> Prepare:
    def prepared(path: Path, out: str = "out", **changes: Any) -> Manifest:
        return prepare(data_params(**changes), path, tmp_path / out / "prepared", tmp_path / out / "card")

    return prepared


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def quarantine(tmp_path: Path) -> list[list[str]]:
    with (tmp_path / "out" / "card" / "quarantine.csv").open(newline="") as file:
        return list(csv.reader(file))


def test_digits(run: Prepare, tmp_path: Path) -> None:
    manifest = run(Path("unused"), source=DIGITS, height=8, width=8, channels=1, shard_rows=1000)
    assert manifest == read_manifest(tmp_path / "out" / "prepared")
    assert {split: info.rows for split, info in manifest.splits.items()} == {
        "train": 1079,
        "val": 359,
        "test": 359,
    }
    assert [shard.rows for shard in manifest.splits["train"].shards] == [1000, 79]
    assert min(manifest.splits["test"].counts["label"]) >= 34
    assert sorted(contents(tmp_path / "out" / "card")) == [
        "card.md",
        "classes.png",
        "quarantine.csv",
        "quarantine.parquet",
        "samples.png",
    ]


def test_equal_inputs_give_equal_bytes_and_no_absolute_path(run: Prepare, tmp_path: Path) -> None:
    table = good_table(tmp_path / "t.parquet", per_class=20)
    run(table, out="a")
    run(table, out="b")
    first = contents(tmp_path / "a")
    assert first == contents(tmp_path / "b")
    assert len(first) == 9 + 5
    assert not [name for name, content in first.items() if str(tmp_path).encode() in content]


def test_pixels_and_labels_arrive_with_their_row(run: Prepare, tmp_path: Path) -> None:
    manifest = run(good_table(tmp_path / "t.parquet"))
    found = []
    for name, info in manifest.splits.items():
        split = Split.open(tmp_path / "out" / "prepared", name)
        images = split.images(torch.arange(len(split))).permute(0, 2, 3, 1).numpy()
        assert np.bincount(split.targets["label"], minlength=2).tolist() == info.counts["label"]
        found += [
            (image.tobytes(), label)
            for image, label in zip(images, split.targets["label"].tolist(), strict=True)
        ]
    assert sorted(found) == sorted((pixels(row).tobytes(), row % 2) for row in range(10))


def test_defective_rows_are_listed_counted_and_left_out(run: Prepare, tmp_path: Path) -> None:
    images = [png(row) for row in range(20)]
    labels: list[int | None] = [row % 2 for row in range(20)]
    table = write_table(
        tmp_path / "t.parquet",
        [*images, None, b"junk", png(1)[:40], png(2), png(3)],
        [*labels, 0, 1, 0, None, -5],
    )
    manifest = run(table, max_quarantined=0.2)
    assert manifest.quarantined == {
        "label out of range": 1,
        "null image": 1,
        "null label": 1,
        "undecodable image": 2,
    }
    assert sum(info.rows for info in manifest.splits.values()) == 20
    header, *rows = quarantine(tmp_path)
    assert header == ["file", "row", "reason", "detail"]
    assert [row[:3] for row in rows] == [
        ["t.parquet", "20", "null image"],
        ["t.parquet", "21", "undecodable image"],
        ["t.parquet", "22", "undecodable image"],
        ["t.parquet", "23", "null label"],
        ["t.parquet", "24", "label out of range"],
    ]


def test_label_outside_the_class_list_is_quarantined(run: Prepare, tmp_path: Path) -> None:
    write_table(
        tmp_path / "in" / "train.parquet",
        [png(row) for row in range(11)],
        [*[row % 2 for row in range(10)], 2],
    )
    (tmp_path / "in" / "classes.json").write_text('["cat", "dog"]')
    manifest = run(tmp_path / "in", max_quarantined=0.1)
    assert manifest.targets["label"].groups == ["cat", "dog"]
    assert manifest.quarantined == {"label out of range": 1}
    assert quarantine(tmp_path)[1] == [
        "train.parquet",
        "10",
        "label out of range",
        "column 'label': label 2 is not in 0..1",
    ]


def test_too_many_defects_state_count_limit_and_first_rows(run: Prepare, tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.parquet", [png(row) for row in range(8)] + [b"a", None], [0, 1] * 5)
    message = (
        r"(?s)2 of 10 rows are defective \(20.00%\), more than data.limits.max_quarantined allows \(10.00%\)"
        r".*t.parquet row 8: undecodable image.*t.parquet row 9: null image"
    )
    with pytest.raises(DataError, match=message):
        run(table, max_quarantined=0.1)


def test_limit_itself_is_allowed(run: Prepare, tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.parquet", [png(row) for row in range(9)] + [None], [0, 1] * 5)
    assert run(table, max_quarantined=0.1).quarantined == {"null image": 1}


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        ([], [], r"source 't.parquet' is empty.*needs at least a train and a val image"),
        ([b"junk", None], [0, 1], r"source 't.parquet' has no usable row"),
        ([png(0), png(1)], [0, 0], "all 2 usable rows are of one class, 0.*needs at least two"),
    ],
)
def test_unusable_sources(
    run: Prepare, tmp_path: Path, images: list[bytes | None], labels: list[int], message: str
) -> None:
    table = write_table(tmp_path / "t.parquet", images, pa.array(labels, pa.int64()))
    with pytest.raises(DataError, match=message):
        run(table, max_quarantined=1.0)


def test_error_leaves_the_last_good_outs_and_no_litter(run: Prepare, tmp_path: Path) -> None:
    run(good_table(tmp_path / "good.parquet"))
    before = contents(tmp_path / "out")
    with pytest.raises(EspalierError):
        run(write_table(tmp_path / "bad.parquet", [png(0), png(1)], [0, 1]))
    assert contents(tmp_path / "out") == before
    assert sorted(entry.name for entry in (tmp_path / "out").iterdir()) == ["card", "prepared"]


def test_raw_pixels_and_resizing(run: Prepare, tmp_path: Path) -> None:
    raw = [np.full((6, 5, 1), 10 * row, np.uint8).tobytes() for row in range(12)]
    manifest = run(
        write_table(tmp_path / "t.parquet", raw, [0, 1] * 6),
        source=parquet_source(raw_shape=[6, 5, 1]),
        channels=3,
    )
    assert (manifest.image.height, manifest.image.width, manifest.image.channels) == (4, 4, 3)
    test = Split.open(tmp_path / "out" / "prepared", "test")
    images = test.images(torch.arange(len(test))).flatten(1)
    assert (images == images[:, :1]).all(), "an even image stays even"
    assert {value // 10 % 2 for value in images[:, 0].tolist()} == {0, 1}


def test_slice_columns_stay_with_their_row_in_every_shard(run: Prepare, tmp_path: Path) -> None:
    """The camera is the image's number divided by ten, so that it can be told from its pixels."""
    raw = [np.full((4, 4, 1), row, np.uint8).tobytes() for row in range(40)]
    more = {
        "camera": pa.array([row // 10 if row >= 10 else None for row in range(40)]),
        "site": pa.array(["n", "s"] * 20),
    }
    table = write_table(tmp_path / "t.parquet", raw, [0, 1] * 20, more)
    run(
        table,
        source=parquet_source(raw_shape=[4, 4, 1]),
        channels=1,
        slice_columns=["camera", "site"],
        shard_rows=3,
    )
    prepared = tmp_path / "out" / "prepared"
    test = Split.open(prepared, "test")
    rows = test.images(torch.arange(len(test)))[:, 0, 0, 0].tolist()
    assert read_slices(prepared, "test") == {
        "camera": [str(row // 10) if row >= 10 else "null" for row in rows],
        "site": ["ns"[row % 2] for row in rows],
    }


def test_slice_columns_that_tell_no_kinds_apart_are_refused(run: Prepare, tmp_path: Path) -> None:
    more = {"id": pa.array(range(60)), "price": pa.array([0.5] * 60)}
    table = write_table(tmp_path / "t.parquet", [png(row) for row in range(60)], [0, 1] * 30, more)
    with pytest.raises(
        DataError, match=r"column 'id' \(data.slice_columns\) has 60 different values, more than 50"
    ):
        run(table, slice_columns=["id"])
    with pytest.raises(
        DataError, match=r"column 'price' \(data.slice_columns\) holds numbers; it must hold strings"
    ):
        run(table, slice_columns=["price"])
    with pytest.raises(DataError, match=r"no column 'ide' \(data.slice_columns\); did you mean 'id'"):
        run(table, slice_columns=["ide"])


def test_duplicates_between_splits_are_counted_and_shown(run: Prepare, tmp_path: Path) -> None:
    good_table(tmp_path / "in" / "train.parquet", per_class=10)
    good_table(tmp_path / "in" / "val.parquet", first=100)
    write_table(tmp_path / "in" / "test.parquet", [png(3), png(3), png(101), png(555)], [1, 1, 1, 0])
    assert run(tmp_path / "in").duplicates == {"train/val": 0, "train/test": 2, "val/test": 1}
    assert "- train/test: 2\n" in (tmp_path / "out" / "card" / "card.md").read_text()


def findings(tmp_path: Path) -> list[str]:
    card = (tmp_path / "out" / "card" / "card.md").read_text(encoding="utf-8")
    return card.partition("## Findings")[2].partition("\n## ")[0].split("\n\n", 1)[1].strip().splitlines()


def test_names_that_look_the_same_are_a_finding(run: Prepare, tmp_path: Path) -> None:
    alike = ["cat", "cat ", "Cat", "caf\u00e9", "cafe\u0301", "dog", "do\u200bg"]
    more = {"site": pa.array(["north", "north\r"] * 21)}
    table = write_table(
        tmp_path / "t.parquet", [png(row) for row in range(42)], [alike[row % 7] for row in range(42)], more
    )
    assert len(run(table, slice_columns=["site"]).targets["label"].groups) == 7
    assert findings(tmp_path) == [
        r"- classes 'Cat', 'cat', 'cat ' differ in case, spaces or Unicode form alone",
        r"- classes 'cafe\u0301', 'caf\xe9' differ in case, spaces or Unicode form alone",
        r"- classes 'dog', 'do\u200bg' differ in case, spaces or Unicode form alone",
        r"- values 'north', 'north\r' of 'site' differ in case, spaces or Unicode form alone",
    ]
    with pytest.raises(
        DataError,
        match=r"(?s)data.limits.strict refuses what was found:.*'Cat', 'cat', 'cat '.*set strict to false",
    ):
        run(table, strict=True)


def test_images_without_content_are_a_finding(run: Prepare, tmp_path: Path) -> None:
    blank = encoded(Image.new("RGBA", (9, 9), (200, 10, 10, 0)))
    images = [png(row) for row in range(10)] + [blank, encoded(Image.new("RGB", (9, 9), (1, 2, 3)))]
    table = write_table(tmp_path / "t.parquet", images, [0, 1] * 6)
    run(table)
    assert findings(tmp_path) == [
        "- 2 images of one colour, without any content: t.parquet row 10, t.parquet row 11"
    ]
    run(good_table(tmp_path / "good.parquet"), strict=True)
    assert findings(tmp_path) == ["None."]


@pytest.mark.parametrize(
    ("height", "width", "channels"), [(2048, 1, 1), (1, 2048, 3), (300, 300, 3), (3, 7, 1)]
)
def test_the_picture_of_samples_has_a_size_for_any_image(
    run: Prepare, tmp_path: Path, height: int, width: int, channels: int
) -> None:
    """A line scan of 2,048 pixels made one of 1,200 x 246,000 pixels, in a minute."""
    raw = [pixels(row, height, width, channels).tobytes() for row in range(10)]
    table = write_table(tmp_path / "t.parquet", raw, [0, 1] * 5)
    shape = parquet_source(raw_shape=[height, width, channels])
    run(table, source=shape, height=height, width=width, channels=channels)
    with Image.open(tmp_path / "out" / "card" / "samples.png") as image:
        assert 900 <= image.width <= 1000
        assert 80 <= image.height <= 600


def test_a_label_that_is_no_utf8_is_quarantined(run: Prepare, tmp_path: Path) -> None:
    names = pa.array([b"cat", b"dog"] * 5 + [b"caf\xe9"]).view(pa.string())
    run(write_table(tmp_path / "t.parquet", [png(row) for row in range(11)], names), max_quarantined=0.1)
    assert quarantine(tmp_path)[1] == [
        "t.parquet",
        "10",
        "unreadable label",
        r"column 'label': label 'caf\udce9' is not UTF-8",
    ]


def test_card_survives_names_that_break_tables_formulas_and_fonts(run: Prepare, tmp_path: Path) -> None:
    names = ["a|b", "$\\frac", "猫", "line\nbreak", "x" * 100]
    table = write_table(
        tmp_path / "t.parquet", [png(row) for row in range(25)], [names[row % 5] for row in range(25)]
    )
    run(table)
    card = (tmp_path / "out" / "card" / "card.md").read_text(encoding="utf-8")
    assert "| a\\|b | 3 | 1 | 1 |" in card
    assert "| line break | 3 | 1 | 1 |" in card
    assert "| 猫 | 3 | 1 | 1 |" in card
    with Image.open(tmp_path / "out" / "card" / "samples.png") as image:
        assert "Software" not in image.info
        assert min(image.size) > 100


@pytest.mark.skipif(not (REAL_DATA / "cifar10").is_dir(), reason=f"needs CIFAR-10 at {REAL_DATA / 'cifar10'}")
def test_slice_of_cifar10_comes_through_pixel_by_pixel(run: Prepare, tmp_path: Path) -> None:
    for split in ("train", "test"):
        rows = next(
            pq.ParquetFile(REAL_DATA / "cifar10" / f"{split}.parquet").iter_batches(
                300, columns=["image", "label"]
            )
        )
        write_table(
            tmp_path / "in" / f"{split}.parquet", rows.column("image").to_pylist(), rows.column("label")
        )
    (tmp_path / "in" / "classes.json").write_bytes((REAL_DATA / "cifar10" / "classes.json").read_bytes())
    manifest = run(tmp_path / "in", height=32, width=32, val_fraction=0.1, shard_rows=100)
    assert (manifest.splits["test"].rows, manifest.quarantined) == (300, {})
    assert manifest.image.mean == pytest.approx([0.49, 0.48, 0.45], abs=0.03)
    first = pq.ParquetFile(tmp_path / "in" / "test.parquet").read().column("image")[0].as_py()
    (tmp_path / "first.png").write_bytes(first)
    with Image.open(tmp_path / "first.png") as image:
        expected = np.asarray(image)
    shown = (
        Split.open(tmp_path / "out" / "prepared", "test")
        .images(torch.tensor([0]))[0]
        .permute(1, 2, 0)
        .numpy()
    )
    assert shown.tolist() == expected.tolist()


def test_a_class_that_loses_too_many_rows_is_named(run: Prepare, tmp_path: Path) -> None:
    images = [png(row) for row in range(20)]
    images[1] = images[3] = b"junk"
    table = write_table(tmp_path / "t.parquet", images, ["cat", "dog"] * 10)
    message = (
        r"(?s)source 't.parquet', class 'dog': 2 of 10 rows are defective \(20.00%\), more than "
        r"data.limits.max_quarantined_of_class allows \(15.00%\).*t.parquet row 1.*t.parquet row 3"
    )
    with pytest.raises(DataError, match=message):
        run(table, max_quarantined=0.1, max_quarantined_of_class=0.15)
    outcomes = run(table, max_quarantined=0.1, max_quarantined_of_class=0.2).outcomes
    assert outcomes == {"accepted": 18, "repaired": 0, "quarantined": 2}
