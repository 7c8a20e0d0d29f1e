"""The files of MNIST and its relatives: a block of raw pixels, and one of labels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.data.intake.source import BATCH_ROWS, SPLITS, Source, SourceBatch, ranges
from pipeline.data.intake.sources.idx import IdxSource
from pipeline.data.intake.trees.blob import printable_name
from pipeline.data.intake.trees.names import split_in
from pipeline.data.intake.trees.tree import Tree, open_tree
from pipeline.errors import DataError

IMAGES_WORD = "images"
LABELS_WORD = "labels"
TEST_WORD = "t10k"
"""How MNIST calls its test split."""
UNSIGNED_BYTES = b"\0\0\x08"
"""First bytes of a file; the number of dimensions follows, then each of them in four bytes."""
IMAGE_DIMENSIONS = (3, 4)
MOST_IMAGE_BYTES = 1 << 26
"""Bytes of an image."""


def open_idx(path: Path, columns: Sequence[str], scratch: Path) -> Source:
    """All images of files such as train-images-idx3-ubyte(.gz), labelled by train-labels-idx1-ubyte(.gz).

    Raises DataError: nothing at the path, no file of images, one without labels, a damaged file.
    """
    tree = open_tree(path, scratch)
    names = [name for name in tree.files if IMAGES_WORD in name.rsplit("/", maxsplit=1)[-1].lower()]
    if not names:
        raise DataError(
            f"source {tree.name!r} has no file of images such as train-images-idx3-ubyte; look at "
            "data.source.path"
        )
    splits = {name: "test" if TEST_WORD in name else split_in(name) or "train" for name in names}
    names.sort(key=lambda name: SPLITS.index(splits[name]))
    blocks = [_block(tree, name, splits[name]) for name in names]
    if len({block.shape for block in blocks}) > 1:
        raise DataError(f"source {tree.name!r}: images of several sizes: {[block.shape for block in blocks]}")
    return Source(
        name=tree.name,
        splits=[split for split in SPLITS if split in splits.values()],
        columns=IdxSource.fixed,
        classes={},
        classes_json=None,
        raw_shape=blocks[0].shape,
        pieces=[
            IdxPiece(block, part.start, len(part), tuple(columns))
            for block in blocks
            for part in ranges(block.count)
            if len(part)
        ],
        left_out=tree.left_out,
    )


@dataclass(frozen=True)
class IdxBlock:
    """offset: bytes before the first image. shape: (H, W, C). labels: path, and bytes before the first."""

    name: str
    split: str
    path: Path
    offset: int
    count: int
    shape: tuple[int, int, int]
    labels: tuple[Path, int]


@dataclass(frozen=True)
class IdxPiece:
    """Consecutive images of a block. first: number in it."""

    block: IdxBlock
    first: int
    rows: int
    columns: tuple[str, ...]

    def read(self) -> Iterator[SourceBatch]:
        size = self.block.shape[0] * self.block.shape[1] * self.block.shape[2]
        labels, offset = self.block.labels
        for first in range(self.first, self.first + self.rows, BATCH_ROWS):
            count = min(BATCH_ROWS, self.first + self.rows - first)
            pixels = _bytes(self.block.path, self.block.offset + first * size, count * size)
            numbers = list(_bytes(labels, offset + first, count))
            yield SourceBatch(
                files=[self.block.name] * count,
                rows=list(range(first, first + count)),
                splits=[self.block.split] * count,
                images=[pixels[row * size : (row + 1) * size] for row in range(count)],
                cells=dict.fromkeys(self.columns, numbers),
            )


def _block(tree: Tree, name: str, split: str) -> IdxBlock:
    folder, _, base = name.rpartition("/")
    wanted = f"{folder}/{base}".lower().replace(IMAGES_WORD, LABELS_WORD).replace("idx3", "idx1").lstrip("/")
    found = [other for other in tree.files if other.lower() == wanted]
    if not found:
        raise DataError(f"{tree.shown(name)}: has no labels beside it; they belong into {wanted}")
    path, labels = tree.local(name), tree.local(found[0])
    count, *shape = _dimensions(path, tree.shown(name), IMAGE_DIMENSIONS)
    (number,) = _dimensions(labels, tree.shown(found[0]), (1,))
    if number != count:
        raise DataError(f"{tree.shown(name)}: {count} images, but {number} labels; get both again")
    height, width, channels = (*shape, 1)[:3]
    if not 0 < height * width * channels <= MOST_IMAGE_BYTES or channels not in (1, 3):
        raise DataError(f"{tree.shown(name)}: images of {height} x {width} x {channels}, which are none")
    offset = 4 + 4 * (1 + len(shape))
    return IdxBlock(printable_name(name), split, path, offset, count, (height, width, channels), (labels, 8))


def _dimensions(path: Path, name: str, allowed: Sequence[int]) -> list[int]:
    """Lengths of the dimensions. Raises DataError unless the file is as long as they say."""
    start = _bytes(path, 0, 20)
    if start[:3] != UNSIGNED_BYTES or start[3:4] not in [bytes([number]) for number in allowed]:
        raise DataError(
            f"{name}: no IDX file of unsigned bytes in {' or '.join(map(str, allowed))} dimensions"
        )
    found = [int.from_bytes(start[place : place + 4], "big") for place in range(4, 4 + 4 * start[3], 4)]
    size = 4 + 4 * start[3]
    content = 1
    for length in found:
        content *= length
    if path.stat().st_size != size + content:
        raise DataError(
            f"{name}: {path.stat().st_size} bytes, but its header says {size + content}; get it again"
        )
    return found


def _bytes(path: Path, offset: int, count: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(count)
