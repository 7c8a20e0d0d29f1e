"""The picture of the candidates."""

from itertools import combinations

from matplotlib.text import Annotation, Text

from pipeline.frontier.candidates import Frontier
from pipeline.frontier.picture import draw_frontier, plot
from tests.support.frontier_samples import DENSE, candidate, sample


def test_the_picture_is_the_same_for_the_same_numbers() -> None:
    assert draw_frontier(sample()) == draw_frontier(sample())
    assert draw_frontier(sample()).startswith(b"\x89PNG")


def test_labels_of_close_points_can_be_read_one_by_one() -> None:
    near = [
        candidate("quantized", f"0.{label}", 2 + label / 1000, 0.97 + label / 10000) for label in range(10)
    ]
    for axes in plot(Frontier(DENSE, near, ["prune.target.macs"], {}, 1.0)).axes:
        labels = [each for each in axes.texts if isinstance(each, Annotation)]
        assert sorted(each.get_text() for each in labels) == [*(f"0.{label}" for label in range(10)), "dense"]
        boxes = [Text.get_window_extent(each) for each in labels]
        assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
        assert all(
            axes.bbox.containsx(x) and axes.bbox.containsy(y) for box in boxes for x, y in box.corners()
        )
