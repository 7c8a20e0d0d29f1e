"""A finding about one row."""


class Defect(Exception):  # noqa: N818 - a finding about a row, turned into a line of the quarantine table
    """A row that cannot be used.

    reason: one of a few fixed phrases, counted; detail: what exactly, and the cure.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail
