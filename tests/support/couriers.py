"""The courier of a stage as a thread of the test: the same code, without importing MLflow again."""

import threading

from pipeline.base.stage import Stage
from pipeline.tracking.courier import Courier
from pipeline.tracking.delivery import END
from pipeline.tracking.store import open_session


class Orders:
    """The courier's stdin.

    Unlike a pipe's, its closing waits until all is delivered, so that a test can look.
    """

    def __init__(self, courier: Courier) -> None:
        self._courier = courier
        self._thread = threading.Thread(target=courier.run, daemon=True)
        self._thread.start()

    def __enter__(self) -> "Orders":
        return self

    def write(self, text: bytes) -> None:
        assert text == END
        self._courier.end()

    def __exit__(self, *_error: object) -> None:
        self._thread.join()


class ThreadCourier:
    """What tracking/delivery.py uses of a process."""

    def __init__(self, stage: Stage) -> None:
        self._courier = Courier(stage, lambda record: open_session(stage, record))
        self.stdin = Orders(self._courier)

    def kill(self) -> None:
        self._courier.abandon()
