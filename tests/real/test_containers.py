"""The same photographs in six containers, one of them from a bucket, become the same prepared data."""

import csv
import http.client
import io
import json
import os
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer

from pipeline.data.fields.field import ORIGIN
from pipeline.data.intake.params import DataParams
from pipeline.data.intake.prepare import prepare
from pipeline.data.prepared.manifest import Manifest
from tests.support.data_samples import REAL_DATA, data_params, parquet_source

CLOTHES = REAL_DATA / "clothing10"
SIDE = 64
SHARD_ROWS = 100
"""Rows of a file as hubs write them."""
S3_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "espalier",
    "AWS_SECRET_ACCESS_KEY": "espalier",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
pytestmark = pytest.mark.skipif(not CLOTHES.exists(), reason=f"needs photographs in {CLOTHES}")


class Photograph(NamedTuple):
    split: str
    label: str
    file: str
    image: bytes

    @property
    def path(self) -> str:
        return f"{self.split}/{self.label}/{self.file}"


@pytest.fixture(scope="module")
def photographs() -> list[Photograph]:
    """All of them, in the order of their paths: the one order that a folder has too."""
    names = json.loads((CLOTHES / "classes.json").read_text())
    found = [
        Photograph(split, names[row["label"]], Path(row["file"]).name, row["image"])
        for split, file in (("train", "train600.parquet"), ("test", "test.parquet"))
        for row in pq.read_table(CLOTHES / file).to_pylist()
    ]
    return sorted(found, key=lambda each: each.path)


def as_parquet(photographs: list[Photograph], place: Path) -> dict[str, Any]:
    place.mkdir()
    for split in ("train", "test"):
        pq.write_table(_table(photographs, split), place / f"{split}.parquet")
    return parquet_source(path=str(place))


def as_hub_shards(photographs: list[Photograph], place: Path) -> dict[str, Any]:
    place.mkdir()
    for split in ("train", "test"):
        table = _table(photographs, split)
        count = -(-len(table) // SHARD_ROWS)
        for number in range(count):
            part = table.slice(number * SHARD_ROWS, SHARD_ROWS)
            images = [{"bytes": image, "path": None} for image in part["image"].to_pylist()]
            part = part.set_column(0, "image", pa.array(images))
            pq.write_table(part, place / f"{split}-{number:05d}-of-{count:05d}.parquet")
    return parquet_source(path=str(place))


def _table(photographs: list[Photograph], split: str) -> Any:
    rows = [each for each in photographs if each.split == split]
    return pa.table({"image": [each.image for each in rows], "label": [each.label for each in rows]})


def as_folder(photographs: list[Photograph], place: Path) -> dict[str, Any]:
    for each in photographs:
        (place / each.path).parent.mkdir(parents=True, exist_ok=True)
        (place / each.path).write_bytes(each.image)
    return {"kind": "folder", "path": str(place)}


def as_zip(photographs: list[Photograph], place: Path) -> dict[str, Any]:
    with zipfile.ZipFile(place.with_suffix(".zip"), "w") as archive:
        for each in photographs:
            archive.writestr(each.path, each.image)
    return {"kind": "folder", "path": str(place.with_suffix(".zip"))}


def as_csv(photographs: list[Photograph], place: Path) -> dict[str, Any]:
    as_folder(photographs, place)
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["photo", "label", "split"])
    rows.writerows([each.path, each.label, each.split] for each in photographs)
    (place / "photographs.csv").write_text(text.getvalue())
    return {
        "kind": "table",
        "path": str(place),
        "table": "photographs.csv",
        "image_column": "photo",
        "root": None,
        "split_column": "split",
        "list_separator": None,
    }


@contextmanager
def bucket(folder: Path) -> Iterator[dict[str, str]]:
    """A stand-in for S3 whose bucket holds a folder as `clothes`; the variables by which it is found."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        with closing(http.client.HTTPConnection(host, port)) as connection:
            _put(connection, "/bucket", b"")
            for path in filter(Path.is_file, folder.rglob("*")):
                _put(connection, f"/bucket/clothes/{path.relative_to(folder)}", path.read_bytes())
        yield {**os.environ, **S3_ENVIRONMENT, "AWS_ENDPOINT_URL": f"http://{host}:{port}"}
    finally:
        server.stop()


def _put(connection: http.client.HTTPConnection, path: str, content: bytes) -> None:
    connection.request("PUT", path, content, {"Host": "s3.amazonaws.com"})
    with connection.getresponse() as answer:
        answer.read()
        assert answer.status == http.client.OK


def as_bucket(photographs: list[Photograph], place: Path) -> dict[str, Any]:
    """Brought by `dvc import-url`, as docs/sources.md says."""
    as_folder(photographs, place / "there")
    with bucket(place / "there") as environment:
        environment["DVC_SITE_CACHE_DIR"] = str(place / "site")
        for words in (
            ["git", "init", "-q"],
            ["dvc", "init", "-q"],
            ["dvc", "import-url", "-q", "s3://bucket/clothes", "clothes"],
        ):
            subprocess.run(words, cwd=place, env=environment, check=True)
    return {"kind": "folder", "path": str(place / "clothes")}


WAYS: list[Callable[[list[Photograph], Path], dict[str, Any]]] = [
    as_hub_shards,
    as_folder,
    as_zip,
    as_csv,
    as_bucket,
]


def prepared(source: dict[str, Any], out: Path) -> tuple[Manifest, dict[str, Any]]:
    """The manifest, and of each shard the columns that say nothing of where a row came from."""
    params: DataParams = data_params(source=source, height=SIDE, width=SIDE, test_fraction=0.0)
    manifest = prepare(params, Path(source["path"]), out / "prepared", out / "card")
    shards = {
        path.name: pa.ipc.open_file(path).read_all().drop_columns(list(ORIGIN))
        for path in (out / "prepared").glob("*.arrow")
    }
    return manifest, shards


@pytest.fixture(scope="module")
def expected(
    photographs: list[Photograph], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Manifest, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("parquet")
    return prepared(as_parquet(photographs, folder / "clothes"), folder)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_another_container_of_the_same_photographs_gives_the_same_data(
    expected: tuple[Manifest, dict[str, Any]],
    photographs: list[Photograph],
    way: Callable[[list[Photograph], Path], dict[str, Any]],
    tmp_path: Path,
) -> None:
    manifest, shards = prepared(way(photographs, tmp_path / "clothes"), tmp_path)
    first, expected_shards = expected
    assert sum(info.rows for info in manifest.splits.values()) == len(photographs)
    assert shards.keys() == expected_shards.keys()
    assert all(shards[name].equals(expected_shards[name]) for name in shards)
    assert manifest.source.sha256 == first.source.sha256
    assert manifest.fields == first.fields
