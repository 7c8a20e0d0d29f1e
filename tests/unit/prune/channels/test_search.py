"""How far down the ranking the search goes."""

import pytest
import torch

from pipeline.errors import CompressionError
from pipeline.prune.channels.search import Limits, select_channels
from pipeline.prune.channels.widths import (
    Measure,
)
from tests.support.pruning_samples import hand_made_group, hand_made_layers, macs_of


def test_search_removes_the_lowest_scores_until_the_target_is_met() -> None:
    layers = hand_made_layers(a=30, b=200, c=60)
    groups = [hand_made_group("a", "b", 10), hand_made_group("b", "c", 20)]
    scores = [torch.arange(10.0), torch.full((20,), 100.0)]
    removed = select_channels(
        groups,
        scores,
        layers,
        macs_of(layers),
        Limits(210 / 290, scope="global", round_to=1, max_ratio=0.5),
        {},
    )
    # Each channel of a costs 3 in a and 20 in b: four of them free 92, three only 69.
    assert [channels.tolist() for channels in removed] == [[0, 1, 2, 3], []]


def test_search_gives_equal_scores_in_the_order_of_channels() -> None:
    layers = hand_made_layers(a=30, b=200)
    limits = Limits(161 / 230, "global", 1, 0.9)
    removed = select_channels(
        [hand_made_group("a", "b", 10)], [torch.ones(10)], layers, macs_of(layers), limits, {}
    )
    assert removed[0].tolist() == [0, 1, 2]


def test_search_takes_the_first_that_fits_where_fewer_channels_can_cost_more() -> None:
    layers = hand_made_layers(a=30, b=200)
    times = {10: 10.0, 9: 14.0, 8: 8.0, 7: 13.0, 6: 7.0, 5: 12.0}
    slow_when_odd = Measure("latency", times[10], lambda widths: times[widths["a"][0]])

    def removed(fraction: float) -> list[int]:
        groups, limits = [hand_made_group("a", "b", 10)], Limits(fraction, "global", 1, 0.5)
        return select_channels(groups, [torch.arange(10.0)], layers, slow_when_odd, limits, {})[0].tolist()

    assert removed(0.8) == [0, 1]
    assert removed(0.7) == [0, 1, 2, 3]
    with pytest.raises(
        CompressionError, match=r"0\.600 of the dense latency is out of reach; .* 0\.700 to 1\.0"
    ):
        removed(0.6)
