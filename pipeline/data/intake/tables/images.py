"""Images that a table names, or holds as text."""

import base64
import binascii
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from pipeline.data.intake.trees.blob import Blob, RefusedBlob, printable_name
from pipeline.data.intake.trees.names import inner_name
from pipeline.data.intake.trees.tree import Tree
from pipeline.images.defect import Defect

DATA_URI = re.compile(r"data:[^,]{0,100};base64,")
FEWEST_BASE64 = 256
"""Characters of a text that is an image and no file's name, which systems let be no longer."""


@dataclass(frozen=True)
class BytesBlob:
    data: bytes

    def chunks(self) -> Iterator[bytes]:
        yield self.data


class NamedImages:
    """Files of a tree by the names that people write in tables. places: folders that names may start at.
    named: names that were found before.
    """

    def __init__(self, tree: Tree, places: list[str], named: set[str]) -> None:
        self._tree = tree
        self._places = places
        self._named = named

    def find(self, cell: Any) -> tuple[str, Blob]:
        """The image's name in the tree, as far as it has one, and its bytes.

        A name may lack its suffix or its folders, or be in other case, if that leaves one file. A second row
        that names a file is refused.
        """
        if cell is None:
            return "", RefusedBlob("null image", "the table names no file")
        text = str(cell)
        if DATA_URI.match(text) or len(text) > FEWEST_BASE64:
            return "", _from_base64(DATA_URI.sub("", text, count=1))
        try:
            name = self._name(text)
        except Defect as defect:
            return text, RefusedBlob(defect.reason, defect.detail)
        if name in self._named:
            return name, RefusedBlob("file named twice", "an earlier row names it, too; keep one of them")
        self._named.add(name)
        return name, self._tree.files[name]

    def _name(self, text: str) -> str:
        """Raises Defect if the name is unsafe, or no file has it."""
        names, unsafe = [], []
        for place in self._places:
            try:
                names.append(inner_name(text, place))
            except Defect as defect:
                unsafe.append(defect)
        if not names:
            raise unsafe[0]
        for name in names:
            if name in self._tree.files:
                return name
        for name in names:
            if len(found := self._alike.get(name.casefold(), [])) == 1:
                return found[0]
        if len(found := self._bare.get(text, [])) == 1:
            return found[0]
        raise Defect("missing file", f"{printable_name(names[0])} is not there")

    @cached_property
    def _bare(self) -> dict[str, list[str]]:
        """Names of files by their last part."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for name in self._tree.files:
            found[name.rsplit("/", maxsplit=1)[-1]].append(name)
        return dict(found)

    @cached_property
    def _alike(self) -> dict[str, list[str]]:
        """Names of files by what they are without suffix and case."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for name in self._tree.files:
            for key in {name.casefold(), str(PurePosixPath(name).with_suffix("")).casefold()}:
                found[key].append(name)
        return dict(found)


def _from_base64(text: str) -> Blob:
    try:
        return BytesBlob(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError) as error:
        return RefusedBlob("undecodable image", f"{len(text)} characters that are no base64 ({error})")
