"""`espalier init` writes a params.yaml that fits what it looked at, and refuses what cannot be trained on."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.base.yaml_file import read_yaml
from pipeline.cli import parser
from pipeline.data.intake.params import DataParams
from pipeline.data.intake.prepare import prepare
from pipeline.errors import DataError, ParamsError
from pipeline.init.init import write_fitting_params
from pipeline.init.text import is_as_written
from pipeline.schema import check_values
from tests.support.data_samples import encoded, photo, png, write_table
from tests.support.places import ROOT
from tests.support.source_samples import write_files

PRESETS = ROOT / "presets"


def written(root: Path, given: str = "data/raw/mine") -> tuple[dict[str, Any], str]:
    """params.yaml for what lies there, and what was said."""
    said = write_fitting_params(given, root, PRESETS, None)
    values = read_yaml(root / "params.yaml")
    check_values(values, "params.yaml")
    return values, said


def pngs(counts: Mapping[str, int], side: int = 4) -> dict[str, bytes]:
    return {
        f"{name}/{row}.png": png(1000 * place + row, side, side)
        for place, (name, count) in enumerate(counts.items())
        for row in range(count)
    }


def folder(root: Path, counts: Mapping[str, int], side: int = 4) -> Path:
    return write_files(root / "data/raw/mine", pngs(counts, side))


def table(root: Path, labels: list[Any], more: dict[str, Any] | None = None, **names: str) -> Path:
    images: list[bytes | None] = [png(row) for row in range(len(labels))]
    return write_table(root / "data/raw/mine.parquet", images, labels, more, **names)


def test_what_it_writes_can_be_prepared(tmp_path: Path) -> None:
    folder(tmp_path, {"cat": 30, "dog": 20})
    values, said = written(tmp_path)
    data = DataParams.model_validate(values["data"])
    manifest = prepare(data, tmp_path / data.source.path, tmp_path / "out", tmp_path / "card")
    assert [manifest.splits[split].rows for split in ("train", "val", "test")] == [32, 8, 10]
    assert "32 train, 8 val, 10 test" in said
    assert said.endswith("Next: `make repro`")


def test_small_images_keep_their_size_and_get_a_small_network(tmp_path: Path) -> None:
    folder(tmp_path, {"cat": 30, "dog": 20}, side=8)
    values, _ = written(tmp_path)
    assert (values["data"]["height"], values["data"]["width"], values["data"]["channels"]) == (8, 8, 3)
    assert values["model"]["name"] == "resnet20"
    assert values["train"]["global_batch_size"] <= 36
    assert values["register"]["model_name"] == "mine"
    assert values["train"]["augment"]["flip"] == "random"


def test_photographs_are_cropped_and_kept_encoded(tmp_path: Path) -> None:
    photos = {f"{'ab'[row % 2]}x/{row}.jpg": encoded(photo(row, 200, 260), "JPEG") for row in range(12)}
    write_files(tmp_path / "data/raw/mine", photos)
    values, said = written(tmp_path)
    assert values["data"]["resize"] == {"rule": "crop", "size": 146, "filter": "bicubic"}
    assert values["data"]["store"]["kind"] == "encoded"
    assert values["model"] == values["model"] | {"name": "torchvision/resnet18", "init": "random"}
    assert values["train"]["augment"]["resized_crop"] is not None
    assert "200 x 260 px" in said


@pytest.mark.parametrize(
    ("names", "flip"), [("07", "none"), (("left", "right"), "none"), (("cat", "dog"), "random")]
)
def test_flips_are_left_out_if_names_of_classes_tell_sides_apart(
    names: tuple[str, str], flip: str, tmp_path: Path
) -> None:
    folder(tmp_path, dict.fromkeys(names, 10))
    values, said = written(tmp_path)
    assert values["train"]["augment"]["flip"] == flip
    assert "flips" in said


@pytest.mark.parametrize(
    ("labels", "more", "target", "task"),
    [
        ([0, 1] * 10, {"other": list("ab") * 10}, {"field": "class", "column": "label"}, "classification"),
        ([["a"], ["a", "b"]] * 10, None, {"field": "classes", "columns": ["label"]}, "multilabel"),
        ([0.5, 1.5] * 10, None, {"field": "number", "column": "label"}, "regression"),
    ],
)
def test_the_column_of_labels_says_the_kind_of_problem(
    labels: list[Any], more: dict[str, Any] | None, target: dict[str, Any], task: str, tmp_path: Path
) -> None:
    table(tmp_path, labels, more)
    values, _ = written(tmp_path, "data/raw/mine.parquet")
    assert values["data"]["targets"] == {"label": target}
    assert values["task"]["name"] == task


@pytest.mark.parametrize(
    ("names", "more", "target", "why"),
    [
        ("id", {"species": list("ab") * 10}, {"field": "class", "column": "species"}, "by its name"),
        ("id", {"fruit": list("ab") * 10}, {"field": "class", "column": "fruit"}, "the only column whose"),
        (
            "id",
            {name: [0, 1] * 10 for name in ("round", "green", "ripe")},
            {"field": "classes", "columns": ["round", "green", "ripe"]},
            "0 and 1 in a column for each class",
        ),
        (
            "first",
            {"second": list("ab") * 10},
            {"field": "class", "column": "first"},
            "the first of first, second, none of which is called label",
        ),
    ],
)
def test_a_column_is_taken_for_labels_for_a_reason_that_is_told(
    names: str, more: dict[str, Any], target: dict[str, Any], why: str, tmp_path: Path
) -> None:
    labels = list(range(20)) if names == "id" else list("cd") * 10
    table(tmp_path, labels, more, label=names)
    values, said = written(tmp_path, "data/raw/mine.parquet")
    assert values["data"]["targets"] == {"label": target}
    assert why in said


def test_names_of_classes_come_from_classes_json(tmp_path: Path) -> None:
    write_table(tmp_path / "data/raw/mine/train.parquet", [png(row) for row in range(20)], [0, 2] * 10)
    (tmp_path / "data/raw/mine/classes.json").write_text(json.dumps(["ant", "bee", "cow"]))
    _, said = written(tmp_path)
    assert "ant 10, cow 10" in said


def test_gates_follow_from_a_constant_answer_and_the_number_of_test_images(tmp_path: Path) -> None:
    folder(tmp_path, {"cat": 80, "dog": 20})
    values, said = written(tmp_path)
    limits = values["register"]
    assert 0.8 < limits["min_score"] < 1
    assert limits["max_drop"] == 0.1
    assert limits["min_export_agreement"] == 0.917, "of 20 images"
    assert "a standard error of 6.7 points" in said


def test_classes_of_few_test_images_are_told(tmp_path: Path) -> None:
    folder(tmp_path, {"cat": 100, "dog": 100, "emu": 10, "fox": 2})
    _, said = written(tmp_path)
    assert "2 classes have fewer than 10 test images, too few to judge them: fox 1, emu 2" in said
    assert "class 'fox' (2): too few images for train, val and test" in said
    assert "very unequal size" in said


def test_rows_of_a_group_stay_together_if_a_column_is_called_so(tmp_path: Path) -> None:
    people = {"patient_id": [row // 2 for row in range(40)]}
    table(tmp_path, [0, 1] * 20, people)
    values, said = written(tmp_path, "data/raw/mine.parquet")
    assert values["data"]["split"] == values["data"]["split"] | {"by": "group", "column": "patient_id"}
    assert "rows of one patient_id stay together" in said


@pytest.mark.parametrize(
    ("number", "by"),
    [
        (lambda row, place: 4 * row + place, "runs"),
        (lambda row, place: row, "rows"),
        (lambda row, place: 20 * place + row, "rows"),
    ],
    ids=["person after person", "anew in each class", "class after class"],
)
def test_files_that_were_numbered_as_they_were_taken_stay_together(
    number: Callable[[int, int], int], by: str, tmp_path: Path
) -> None:
    files = {
        f"{name}/IMG_{number(row, place)}.png": png(100 * place + row)
        for place, name in enumerate("abcd")
        for row in range(20)
    }
    write_files(tmp_path / "data/raw/mine", files)
    values, said = written(tmp_path)
    assert values["data"]["split"]["by"] == by
    assert ("in 20 runs, which stay together" in said) == (by == "runs")


def test_odd_files_and_what_is_left_out_are_told(tmp_path: Path) -> None:
    folder(tmp_path, {"cat": 20, "dog": 20})
    write_files(tmp_path / "data/raw/mine", {"cat/bad.png": b"x", "cat/notes.txt": b"", "Thumbs.db": b""})
    _, said = written(tmp_path)
    assert "1 of 41 images looked at cannot be used; the first: cat/bad.png" in said
    assert "1 files of kind .txt" in said
    assert "1 hidden or system files" in said


def test_a_path_outside_of_the_project_is_named_in_full_and_told(tmp_path: Path) -> None:
    folder(tmp_path, {"cat": 10, "dog": 10})
    root = tmp_path / "project"
    root.mkdir()
    values, said = written(root, "../data/raw/mine")
    assert values["data"]["source"]["path"] == (tmp_path / "data/raw/mine").as_posix()
    assert "lies outside of the project" in said


@pytest.mark.parametrize("name", ["a b'c: #x", "ümläut", "-", "123", "yes"])
def test_a_path_of_any_name_is_written_so_that_it_is_read_back(name: str, tmp_path: Path) -> None:
    write_files(tmp_path / "data/raw" / name, pngs({"cat": 10, "dog": 10}))
    values, _ = written(tmp_path, f"data/raw/{name}")
    assert values["data"]["source"]["path"] == f"data/raw/{name}"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"cat/1.png": png(1), "cat/2.png": png(2)}, r"all 2 images are of one class, 'cat'"),
        ({"cat/1.png": png(1), "dog/1.png": png(2)}, r"2 usable images are too few"),
        (
            {"cat/1.png": b"x", "dog/1.png": b"y"},
            r"none of 2 images .* can be used; the first: cat/1.png: undec",
        ),
        ({"1.png": png(1)}, r"nothing says what is to be learnt"),
        ({"x/left\nright/1.png": png(1), "x/\udcff/1.png": png(2)}, r"2 usable images are too few"),
        ({"notes.md": b"x"}, r"no images that a kind of source knows"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(
    files: Mapping[str, bytes], message: str, tmp_path: Path
) -> None:
    write_files(tmp_path / "data/raw/mine", files)
    with pytest.raises(DataError, match=message):
        written(tmp_path)
    assert not (tmp_path / "params.yaml").exists()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, 2] * 10, r"column 'label' holds the integers 1, 2; number classes from 0"),
        (["a"] * 20, r"all 20 images are of one class, 'a'"),
    ],
)
def test_labels_that_cannot_be_classes_are_refused(labels: list[Any], message: str, tmp_path: Path) -> None:
    table(tmp_path, labels)
    with pytest.raises(DataError, match=message):
        written(tmp_path, "data/raw/mine.parquet")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("data/raw/nothing", r"data/raw/nothing does not exist"),
        ("s3://bucket/x", r"`dvc import-url s3://bucket/x data/raw/NAME`"),
        ("models:/digits@dense", r"`espalier weights models:/digits@dense` brings its weights"),
        (".", r"put your data below data/raw"),
        ("data/raw/a\nprune: x", r"holds what cannot be seen"),
        ("data/raw/\udcff", r"holds what cannot be seen, or no UTF-8"),
        ("data/prepared/x", r"put your data below data/raw"),
    ],
)
def test_what_is_no_place_for_data_is_refused(given: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "data/prepared/x").mkdir(parents=True)
    with pytest.raises(DataError, match=message):
        written(tmp_path, given)


def test_a_params_file_that_was_edited_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(tmp_path, {"cat": 10, "dog": 10})
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path, {"presets/cifar10.yaml": (PRESETS / "cifar10.yaml").read_bytes()})
    write_files(tmp_path, {"presets/digits.yaml": (PRESETS / "digits.yaml").read_bytes()})
    params = tmp_path / "params.yaml"

    def run(*words: str) -> None:
        arguments = parser().parse_args(["init", "data/raw/mine", *words])
        arguments.command(arguments)

    run()
    first = params.read_bytes()
    assert is_as_written(first.decode())
    run()
    assert params.read_bytes() == first, "what it wrote, it may replace"
    params.write_bytes(first.replace(b"seed: 0", b"seed: 1", 1))
    with pytest.raises(ParamsError, match=r"edits of yours that this would overwrite; .*--force"):
        run()
    assert params.read_bytes() != first
    run("--force")
    assert params.read_bytes() == first


def test_names_that_cannot_be_seen_neither_break_a_line_nor_end_in_an_error(tmp_path: Path) -> None:
    folder(tmp_path, {"left\nmodel: {}": 10, "\udcff": 10})
    _, said = written(tmp_path)
    assert "left\ufffdmodel: {} 10" in said
    assert said.encode()


def test_weights_that_do_not_fit_are_told(tmp_path: Path) -> None:
    folder(tmp_path, {"cat": 10, "dog": 10})
    write_files(tmp_path, {"data/init/weights.safetensors": b"not looked at"})
    values, said = written(tmp_path)
    assert values["model"]["init"] == "random"
    assert "the weights in data/init are not used" in said


def test_grey_images_have_one_channel(tmp_path: Path) -> None:
    grey = {
        f"{name}/{row}.png": encoded(Image.fromarray(np.full((8, 8), 9 * row, np.uint8)))
        for name in "ab"
        for row in range(10)
    }
    write_files(tmp_path / "data/raw/mine", grey)
    assert written(tmp_path)[0]["data"]["channels"] == 1
