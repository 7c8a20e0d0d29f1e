"""A registered model with several heads: the words of each on its card, and its columns, under its name."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.tasks.serving.protocol import Serving


@dataclass(frozen=True)
class HeadsServing:
    """heads: by name. weights: of a head's score among those of all."""

    heads: Mapping[str, Serving]
    weights: Mapping[str, float]

    @property
    def code(self) -> tuple[Path, ...]:
        return tuple(sorted({path for head in self.heads.values() for path in head.code}))

    @property
    def columns(self) -> dict[str, str]:
        return {
            f"{name}_{column}": kind
            for name, head in self.heads.items()
            for column, kind in head.columns.items()
        }

    @property
    def score(self) -> str:
        scores = [f"{name}, weight {self.weights[name]:g}: {head.score}" for name, head in self.heads.items()]
        return f"weighted mean of {len(scores)} heads; {'; '.join(scores)}"

    @property
    def limits(self) -> str:
        return " ".join(f"Head {name}: {head.limits}" for name, head in self.heads.items())

    def purpose(self, images: str) -> str:
        begins = f"Gives {images} an answer of each head, in columns that begin with its name:"
        return "\n".join(
            [begins, *(f"- {name}: {head.purpose('them')}" for name, head in self.heads.items())]
        )
