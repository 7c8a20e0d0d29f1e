"""Whether files are images in a folder for each class."""

from pipeline.data.intake.sources.folder import FolderSource
from pipeline.data.intake.trees.names import may_be_image
from pipeline.data.intake.trees.tree import Tree
from pipeline.data.survey.cells import SurveyedRows
from pipeline.data.survey.offer import ColumnChoice, Offer
from pipeline.errors import DataError


def offer_folder(tree: Tree) -> Offer | None:
    """Raises DataError if there are images, and no folder that could name a class."""
    images = [name for name in tree.files if may_be_image(name)]
    if not images:
        return None
    if not any("/" in name for name in images):
        raise DataError(
            f"{tree.name}: {len(images)} images, but nothing says what is to be learnt; put them into a "
            "folder for each class, or a table beside them that names files and their labels"
        )
    return Offer({"kind": "folder"}, list(FolderSource.fixed), "images in folders", _folder_name)


def _folder_name(_rows: SurveyedRows) -> ColumnChoice:
    return "label", "the folder that an image lies in"
