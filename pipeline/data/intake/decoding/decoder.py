"""Process that decodes pieces, one after the other, for the process that prepares; see processes.py."""

import mmap
import os
import select
import signal
import sys
import threading
from multiprocessing.connection import Connection

import pipeline.process.environment  # noqa: F401 - first: it settles what the others read
from pipeline.data.intake.decoding.guard import POSITION_BYTES, Guard
from pipeline.data.intake.decoding.piece import decode_piece
from pipeline.data.intake.decoding.piece_file import write_piece
from pipeline.errors import EspalierError
from pipeline.images.decode import doubts_noted


def main(connection: Connection, place: mmap.mmap) -> None:
    """Take an order and a folder, then pieces without end; answer each with its number or an error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the other process's, which ends this one
    order, folder = connection.recv()
    guard = Guard(order.limits, place)
    threading.Thread(target=_end_with, args=(connection.fileno(),), daemon=True).start()
    with doubts_noted():
        while True:
            number, piece, refused = connection.recv()
            try:
                write_piece(folder, number, decode_piece(piece, order, guard, refused))
            except EspalierError as error:
                connection.send(error)
            else:
                connection.send(number)


def _end_with(handle: int) -> None:
    """End this process with the one at the other end, also in the middle of a piece."""
    poll = select.poll()
    poll.register(handle, select.POLLHUP)
    poll.poll()
    os._exit(0)


if __name__ == "__main__":
    main(Connection(int(sys.argv[1])), mmap.mmap(int(sys.argv[2]), POSITION_BYTES))
