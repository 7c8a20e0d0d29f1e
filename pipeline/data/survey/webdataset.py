"""Whether files are WebDataset's: archives in which files of one name are a sample."""

from pipeline.data.intake.readers.webdataset import ARCHIVES, TEXT_SUFFIXES
from pipeline.data.intake.trees.names import IMAGES
from pipeline.data.intake.trees.tree import Tree, open_tree
from pipeline.data.survey.offer import Offer


def offer_webdataset(tree: Tree) -> Offer | None:
    """A source if images have a text or a JSON file of their own name, in the archive or the first of
    several.
    """
    shards = [name for name in tree.files if name.lower().endswith(ARCHIVES)]
    files = open_tree(tree.local(shards[0]), tree.scratch).files if shards else tree.files
    suffixes: dict[str, set[str]] = {}
    for name in files:
        folder, slash, base = name.rpartition("/")
        key, _, suffix = base.partition(".")
        suffixes.setdefault(f"{folder}{slash}{key}", set()).add(suffix.lower())
    notes = {"json", *TEXT_SUFFIXES} if shards or tree.name.lower().endswith(ARCHIVES) else {"cls"}
    paired = [
        found for found in suffixes.values() if found & notes and any(f".{each}" in IMAGES for each in found)
    ]
    if len(paired) * 2 <= len(suffixes):
        return None
    return Offer({"kind": "webdataset"}, None, "samples of files that have one name")
