"""Good files of every format, damaged at random: each ends as accepted, repaired or quarantined, by name.

ESPALIER_MUTANTS says how many (5,000 before a release).
"""

import csv
import os
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
from PIL import Image

from pipeline.base.files import sha256_tree
from pipeline.data.intake.prepare import prepare
from pipeline.data.prepared.manifest import Manifest
from tests.support.data_samples import data_params, encoded, pixels
from tests.support.source_samples import FOLDER, classes_of_pngs, write_files

MUTANTS = int(os.environ.get("ESPALIER_MUTANTS", "300"))
GOOD_ROWS = 20
KINDS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
MODES = ("RGB", "L", "P", "RGBA", "CMYK", "1")
SIDE = 0xFFFF.to_bytes(2, "big")


def prepared(folder: Path, files: dict[str, bytes], processes: int) -> Manifest:
    """Prepare good files and these."""
    source = write_files(folder / "in", classes_of_pngs(GOOD_ROWS) | files)
    params = data_params(source=FOLDER, max_quarantined=1.0)
    return prepare(params, source, folder / "out", folder / "card", folder / "work", processes)


def good_files() -> list[bytes]:
    """A file of each format in each mode that it has."""
    photo = Image.fromarray(pixels(1, 24, 20))
    found = []
    for kind in KINDS:
        for mode in MODES:
            try:
                found.append(encoded(photo.convert(mode), kind))
            except (OSError, KeyError, ValueError):  # a mode that the format has not
                continue
    return found


def flipped(data: bytearray, generator: random.Random) -> bytes:
    for _ in range(generator.choice((1, 2, 8, 64))):
        data[generator.randrange(len(data))] = generator.randrange(256)
    return bytes(data)


def cut(data: bytearray, generator: random.Random) -> bytes:
    return bytes(data[: generator.randrange(1, len(data))])


def doubled(data: bytearray, generator: random.Random) -> bytes:
    first, last = sorted(generator.sample(range(len(data)), 2))
    return bytes(data[:last] + data[first:last] + data[last:])


def removed(data: bytearray, generator: random.Random) -> bytes:
    first, last = sorted(generator.sample(range(len(data)), 2))
    return bytes(data[:first] + data[last:])


def large_number(data: bytearray, generator: random.Random) -> bytes:
    place = generator.randrange(min(64, len(data) - 4))
    data[place : place + 4] = generator.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", bytes(4)))
    return bytes(data)


DAMAGES: tuple[Callable[[bytearray, random.Random], bytes], ...] = (
    flipped,
    cut,
    doubled,
    removed,
    large_number,
)


def test_every_mutant_ends_as_one_of_three(tmp_path: Path) -> None:
    generator, good = random.Random(0), good_files()
    mutants = {
        f"{('cat', 'dog')[number % 2]}/mutant{number}.png": generator.choice(DAMAGES)(
            bytearray(generator.choice(good)), generator
        )
        for number in range(MUTANTS)
    }
    write_files(tmp_path / "in", classes_of_pngs(GOOD_ROWS) | mutants)
    before = sha256_tree(tmp_path / "in")
    manifest = prepared(tmp_path, mutants, processes=1)
    assert sha256_tree(tmp_path / "in") == before
    outcomes = manifest.outcomes
    assert sum(outcomes.values()) == GOOD_ROWS + MUTANTS
    assert sum(info.rows for info in manifest.splits.values()) == outcomes["accepted"] + outcomes["repaired"]
    assert min(outcomes.values()) > MUTANTS / 50, "all three happen"
    assert sum(manifest.quarantined.values()) == outcomes["quarantined"]
    table = pq.read_table(tmp_path / "card" / "quarantine.parquet")
    assert table.column_names == ["file", "row", "reason", "detail"]
    assert set(table.column("file").to_pylist()) <= set(mutants)
    with (tmp_path / "card" / "quarantine.csv").open(newline="") as file:
        _, *listed = csv.reader(file)
    assert [row[:3] for row in listed] == [[row["file"], "0", row["reason"]] for row in table.to_pylist()]
    assert not (tmp_path / "work").exists()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_with(*chunks: bytes, side: int = 4) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    rows = chunk(b"IDAT", zlib.compress(bytes(5 * 4)))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + rows + chunk(b"IEND", b"")


def bombs() -> dict[str, bytes]:
    """Small files that would fill the memory, by what fills it."""
    filling = zlib.compress(bytes(1 << 26))
    jpeg = bytearray(encoded(Image.new("L", (8, 8)), "JPEG"))
    frame = jpeg.index(b"\xff\xc0") + 5
    jpeg[frame : frame + 4] = SIDE + SIDE
    wide = bytearray(encoded(Image.new("1", (8, 8)), "TIFF"))
    for tag in (256, 257):
        place = next(
            found for found in range(len(wide) - 12) if wide[found : found + 2] == struct.pack("<H", tag)
        )
        wide[place + 2 : place + 12] = struct.pack("<HII", 4, 1, 60_000)
    webp = bytearray(encoded(Image.new("RGB", (8, 8)), "WEBP", lossless=True))
    size = webp.index(b"VP8L") + 9
    webp[size : size + 4] = b"\xff\xff\xff\x0f"
    gif = bytearray(encoded(Image.new("P", (8, 8)), "GIF"))
    gif[6:10] = SIDE + SIDE
    return {
        "png": png_with(side=60_000),
        "tiff": bytes(wide),
        "webp": bytes(webp),
        "gif": bytes(gif),
        "jpeg": bytes(jpeg),
        "text": png_with(chunk(b"zTXt", b"key\0\0" + filling)),
        "profile": png_with(chunk(b"iCCP", b"key\0\0" + filling)),
    }


def test_bombs_are_left_out_without_being_decoded(tmp_path: Path) -> None:
    files = {f"cat/bomb_{name}.png": data for name, data in bombs().items()}
    manifest = prepared(tmp_path, files, processes=0)
    table = pq.read_table(tmp_path / "card" / "quarantine.parquet").to_pylist()
    reasons = {row["file"].removeprefix("cat/bomb_").removesuffix(".png"): row["reason"] for row in table}
    assert sum(manifest.outcomes.values()) == GOOD_ROWS + 7
    assert {name: reasons.get(name) for name in ("png", "tiff", "webp", "gif", "jpeg", "text")} == {
        "png": "too many pixels",
        "tiff": "too many pixels",
        "webp": "too many pixels",
        "gif": "too many pixels",
        "jpeg": "too many pixels",
        "text": "undecodable image",
    }
