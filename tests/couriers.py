"""The courier of a stage as a thread of the test: the same code and pipes as its process, without importing MLflow again."""

import json
import os
import threading

from pipeline.stage import Stage
from pipeline.tracking.courier import Courier, obey
from pipeline.tracking.store import open_session


class ThreadCourier:
    """What tracking/delivery.py uses of a process."""

    def __init__(self, stage: Stage) -> None:
        orders, ours = os.pipe()
        answers, self._answers = os.pipe()
        self.stdin, self.stdout = os.fdopen(ours, "wb"), os.fdopen(answers, "rb")
        self._courier = Courier(stage, lambda record: open_session(stage, record), self._say)
        threading.Thread(target=obey, args=(self._courier, os.fdopen(orders, "rb")), daemon=True).start()
        self._thread = threading.Thread(target=self._courier.run, daemon=True)
        self._thread.start()

    def _say(self, delivered: int, problem: str | None) -> None:
        os.write(self._answers, (json.dumps({"delivered": delivered, "problem": problem}) + "\n").encode())

    def poll(self) -> int | None:
        return None if self._thread.is_alive() else 0

    def kill(self) -> None:
        self._courier.abandon()
        self.stdin.close()

    def wait(self) -> int:
        self._thread.join()
        os.close(self._answers)
        return 0
