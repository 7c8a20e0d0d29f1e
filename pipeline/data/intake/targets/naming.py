"""Classes: which cell is one, what each is called and numbered."""

from collections.abc import Sequence

from pipeline.errors import DataError
from pipeline.images.defect import Defect

Label = int | str
LARGEST_LABEL = 2**63 - 1


def checked_label(label: Label | None, classes: list[str] | None) -> Label:
    """The label itself. Raises Defect if it is null or names no class.

    classes: names by number, if they are known before all rows are read.
    """
    if label is None or label == "":
        raise Defect("null label", "the label is null or empty")
    if isinstance(label, str) and not _is_text(label):
        raise Defect("unreadable label", f"label {label!a} is not UTF-8")
    if isinstance(label, int) and label < 0:
        raise Defect("label out of range", f"label {label} is negative; labels start at 0")
    if isinstance(label, int) and label > LARGEST_LABEL:
        raise Defect(
            "label out of range", f"label {label} is larger than {LARGEST_LABEL}; number classes from 0"
        )
    if classes is None:
        return label
    if isinstance(label, int) and label >= len(classes):
        raise Defect("label out of range", f"label {label} is not in 0..{len(classes) - 1}")
    if isinstance(label, str) and label not in classes:
        raise Defect("label out of range", f"label {label!r} is not a known class")
    return label


def name_classes(found: Sequence[Label], known: list[str] | None) -> list[str]:
    """The classes in their order: those known or, of labels of one kind, the sorted names found or 0 to the
    largest integer found.

    Raises DataError for integers with a gap.
    """
    if known is not None:
        return known
    labels = sorted(set(found))
    if labels and isinstance(labels[-1], int) and labels[-1] + 1 != len(labels):
        missing = next(number for number, label in enumerate(labels) if number != label)
        raise DataError(
            f"integer labels reach {labels[-1]}, but label {missing} has no image; number the classes from 0 "
            "without gaps, or list all classes in classes.json to have others quarantined"
        )
    return [str(label) for label in labels]


def _is_text(label: str) -> bool:
    """Whether it came as UTF-8; other bytes came as lone surrogates."""
    try:
        label.encode()
    except UnicodeEncodeError:
        return False
    return True
