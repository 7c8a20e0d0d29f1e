"""What the stage `profile` found, as JSON: the rounding, and the network's width for a target of latency."""

from pathlib import Path

from pipeline.base.records import Record, cure, sealed_json, unsealed
from pipeline.errors import ArtifactError


class RoundingTrial(Record):
    """A network with its channels rounded: fractions of the dense network's cost and latency.

    lowest: the latency without any channel that may go, for a target of latency.
    """

    round_to: int
    cost: float
    latency: float
    lowest: float | None


class TimedNetwork(Record):
    """A network that was timed in turns with the dense one, as fractions of it."""

    macs: float
    latency: float


class Chosen(Record):
    """The widest network tried that meets the target of latency.

    channels: kept of each group, by its root module.
    """

    device: str
    runtime: str
    batch: int
    channels: dict[str, int]
    macs: float
    latency: float
    trials: list[TimedNetwork]

    @property
    def measured_on(self) -> str:
        """Equal to Latency.measured_on of compare/records.py if both were measured in the same way."""
        return f"{self.device}, {self.runtime}"


class Profile(Record):
    """reports/profile.json. chosen is None if the target is not one of latency."""

    round_to: int
    roundings: list[RoundingTrial]
    chosen: Chosen | None

    def to_json(self) -> str:
        return sealed_json(self.model_dump())

    def metrics(self) -> dict[str, float]:
        """Flat numbers, for a reporter."""
        values: dict[str, float] = {"round_to": self.round_to}
        values |= {f"latency_rounded_to_{trial.round_to}": trial.latency for trial in self.roundings}
        return values | ({"latency_fraction": self.chosen.latency} if self.chosen else {})


def read_profile(path: Path) -> Profile:
    """Raises ArtifactError if the file is not what the stage `profile` wrote."""
    try:
        return Profile.model_validate(unsealed(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"{path}: not a profile ({' '.join(str(error).split())}); {cure('profile')}"
        ) from error
