"""What is swept: values as YAML, their product, and names that follow code and data."""

from pathlib import Path

import pytest

from pipeline.errors import ParamsError
from pipeline.frontier.points import Project, parse_settings, points
from tests.support.frontier_samples import AXES, read_raw_data


def test_values_are_yaml_and_commas_within_brackets_do_not_part_them() -> None:
    assert parse_settings(["a.b=0.5,x", "a.c=[1, 2],null", "a.d={macs: 0.5},{macs: 0.3}"]) == {
        "a.b": [0.5, "x"],
        "a.c": [[1, 2], None],
        "a.d": [{"macs": 0.5}, {"macs": 0.3}],
    }


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (["prune.max_ratio"], "write it as section.key=value,value"),
        (["prune.max_ratio="], "write it as section.key=value,value"),
        (["prune.max_ratio={a: 1"], "not valid YAML"),
        (["prune.max_ratio=0.5", "prune.max_ratio=0.6"], "given twice"),
        (["prune.max_ration=0.5"], "unknown key 'prune.max_ration'; did you mean 'max_ratio'?"),
        (["prunes.max_ratio=0.5"], "no stage of a point reads 'prunes'; did you mean 'prune'?"),
        (["prune.max_ratio.x=0.5"], "prune.max_ratio is 0.8 and has no keys; set it whole"),
        (["train.epochs=1"], "changes the dense model or how it is measured"),
        (["resources.workers=1"], "no stage of a point reads 'resources'"),
        (
            ["prune.max_ratio=2.0", "quantize.calibration_images=0"],
            r"(?s)prune.max_ratio is 2.0.*calibration_images is 0",
        ),
    ],
)
def test_what_cannot_be_swept_is_named(project: Project, settings: list[str], says: str) -> None:
    with pytest.raises(ParamsError, match=says):
        points(project, parse_settings(settings))


def test_points_are_the_product_and_equal_inputs_have_one_name(project: Project) -> None:
    found = points(project, parse_settings(AXES))
    assert [point.label for point in found] == [
        f"prune.max_ratio={ratio} quantize.calibration_images={images}"
        for ratio in (0.5, 0.7)
        for images in (64, 128)
    ]
    again = points(project, parse_settings(AXES[::-1]))
    assert {point.name for point in again} == {point.name for point in found}
    assert len({point.name for point in found}) == 4
    assert len(points(project, {"prune.max_ratio": [0.5, 0.5]})) == 1


def test_a_name_follows_code_and_data_and_nothing_else(copy: Path) -> None:
    read_raw_data(copy)
    axes = parse_settings(["prune.max_ratio=0.5"])
    before = points(Project(copy), axes)[0].name
    (copy / "pipeline/cli.py").write_text("# no stage needs it\n")
    assert points(Project(copy), axes)[0].name == before
    (copy / "data/raw/more.bin").write_text("more")
    with_data = points(Project(copy), axes)[0].name
    (copy / "pipeline/quantize/quantize.py").write_text("# edited\n")
    assert len({before, with_data, points(Project(copy), axes)[0].name}) == 3
