"""Pieces handed to processes, and what is done if one of them dies: the item that ended it is left out.

A decoder is an interpreter of its own that imports what decoding needs alone, a third of a second: a fork of
this process would have its threads' locks, and `spawn` would import the stage.
"""

import mmap
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path

from pipeline.data.intake.decoding import decoder
from pipeline.data.intake.decoding.guard import POSITION_BYTES, READING, position_of
from pipeline.data.intake.decoding.piece import Order
from pipeline.data.intake.source import Piece
from pipeline.errors import DataError, EspalierError
from pipeline.images.defect import Defect

ROOT = Path(__file__).parents[4]
"""Folder that holds this package."""
SETTINGS = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""Variables of a decoder: there are as many of them as processors."""


@dataclass
class Work:
    """A piece to be done. refused: defects of items that ended a process, by their number in the piece.

    suspects: items at which a process ended for a reason that may be another's, such as a lack of memory.
    """

    number: int
    piece: Piece
    refused: dict[int, Defect] = field(default_factory=dict)
    suspects: set[int] = field(default_factory=set)


@dataclass(eq=False)
class _Decoder:
    """A process, and what it is at. place: where it leaves the number of the item that it decodes."""

    process: "subprocess.Popen[bytes]"
    connection: Connection
    place: mmap.mmap
    work: Work | None = None

    def give(self, work: Work) -> None:
        self.work = work
        self.connection.send((work.number, work.piece, work.refused))


def decode_beside(
    pieces: Sequence[Piece], numbers: Iterable[int], order: Order, folder: Path, processes: int
) -> None:
    """Leave the files of the pieces with these numbers in a folder.

    Raises DataError for a damaged file, DiskError.
    """
    waiting = deque(Work(number, pieces[number]) for number in numbers)
    with ExitStack() as stack:
        living: list[_Decoder] = []
        while waiting or any(each.work for each in living):
            while waiting and len(living) < processes:
                living.append(stack.enter_context(_decoder(order, folder)))
                living[-1].give(waiting.popleft())
            for each in _answering(living):
                work, each.work = each.work, None
                assert work, "only who has work answers"
                if not _is_done(each, work, order.limits.seconds):
                    living.remove(each)
                    waiting.appendleft(work)
                elif waiting:
                    each.give(waiting.popleft())


def _answering(living: Sequence[_Decoder]) -> list[_Decoder]:
    ready = wait([each.connection for each in living if each.work])
    return [each for each in living if each.connection in ready]


def _is_done(asked: _Decoder, work: Work, seconds: float) -> bool:
    """Whether a piece is done; if its process died, the item to blame is noted.

    seconds: that an item has.

    Raises the error that the process found.
    """
    try:
        answer = asked.connection.recv()
    except (EOFError, ConnectionResetError):
        blame(work, asked.process.wait(), position_of(asked.place), seconds)
        return False
    if isinstance(answer, EspalierError):
        raise answer
    return True


def blame(work: Work, status: int, position: int, seconds: float) -> None:
    """Note why a process died. The second death at an item is the item's fault, the first may be another's.

    Raises DataError if the file that holds the piece cannot be read without it.
    """
    if status >= 0:
        raise RuntimeError(f"a decoder ended with status {status} in piece {work.number}; see above")
    name = signal.Signals(-status).name
    if position != READING and -status == signal.SIGPROF:
        work.refused[position] = Defect("too slow", f"not decoded within {seconds:g} s of processor time")
    elif position not in work.suspects:
        work.suspects.add(position)
    elif position == READING:
        raise DataError(
            f"rows of {work.piece} cannot be read: {name} ended the process that tried, twice; get the file "
            "again"
        )
    else:
        work.refused[position] = Defect(
            "ends its decoder", f"{name} ended the process that decoded it, twice"
        )


@contextmanager
def _decoder(order: Order, folder: Path) -> Iterator[_Decoder]:
    ours, theirs = Pipe()
    handle = os.memfd_create("position")
    os.ftruncate(handle, POSITION_BYTES)
    with ours, mmap.mmap(handle, POSITION_BYTES) as place:
        handles = (theirs.fileno(), handle)
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        process = subprocess.Popen(
            [sys.executable, "-m", decoder.__name__, *map(str, handles)],
            pass_fds=handles,
            stdin=subprocess.DEVNULL,
            env=os.environ | SETTINGS | {"PYTHONPATH": path},
        )
        theirs.close()
        os.close(handle)
        try:
            ours.send((order, folder))
            yield _Decoder(process, ours, place)
        finally:
            process.kill()
            process.wait()
