"""Random numbers that every machine draws alike."""

from pipeline.data.augmentation.streams import stream_seed


def test_random_streams_are_the_same_on_every_machine() -> None:
    assert stream_seed("order", 0, 1) == 8556750900509299915
    assert len({stream_seed("a", 1), stream_seed("a", 2), stream_seed("b", 1), stream_seed("a", 1, 2)}) == 4
