"""Where a source lies."""

from typing import Annotated, TypeAlias

from pydantic import Field

SourcePath: TypeAlias = Annotated[
    str,
    Field(
        min_length=1,
        max_length=4096,
        description="folder, or zip or tar archive (also tar.gz, tar.zst), which is read in place",
    ),
]
