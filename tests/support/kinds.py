"""Words of one kind of problem, counted outside the rooms that may know a kind."""

import re
from pathlib import Path

WORDS = re.compile(r"top1|num_classes|labels_B|BCHW|logits", re.IGNORECASE)
ROOMS = (
    "pipeline/tasks/",
    "pipeline/models/nets/",
    "pipeline/data/fields/",
    "pipeline/data/augmentation/",
    "pipeline/data/intake/",
)


def kind_words(root: Path) -> dict[str, int]:
    """How often each file of the library and of the stages has such a word, the rooms left out."""
    files = (path for folder in ("pipeline", "stages") for path in sorted((root / folder).rglob("*.py")))
    counts = {
        path.relative_to(root).as_posix(): len(WORDS.findall(path.read_text("utf-8"))) for path in files
    }
    return {path: count for path, count in counts.items() if count and not path.startswith(ROOMS)}
