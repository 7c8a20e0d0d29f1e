"""A loop over the images of a table as one writes it by hand; `benchmarks.intake` starts it.

It keeps nothing, checks nothing and knows no limit: what is left is the decoder's own speed.
"""

import io
import sys
import time

import numpy as np
import pyarrow.parquet as pq
from PIL import Image


def main(path: str, first: int, step: int, size: int) -> None:
    """Decode every `step`-th row group from `first` on, to RGB of `size` x `size` pixels."""
    with pq.ParquetFile(path) as table:
        for group in range(first, table.num_row_groups, step):
            for data in table.read_row_group(group, columns=["image"]).column("image").to_pylist():
                with Image.open(io.BytesIO(data)) as image:
                    whole = image.convert("RGB")
                if whole.size != (size, size):
                    whole = whole.resize((size, size), Image.Resampling.BILINEAR)
                np.asarray(whole)


if __name__ == "__main__":
    began = time.perf_counter()
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    print(time.perf_counter() - began)
