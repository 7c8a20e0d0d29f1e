"""What a training on hosts has reached, second by second, read behind the proxy of the store, past its
faults.
"""

import http.client
import json
import re
import threading
import time
from itertools import pairwise
from types import TracebackType
from typing import Self

from tests.support.hosts.services import BUCKET, STORE_URL
from tests.support.hosts.topology import Topology

EVERY_S = 0.3
SIGNED = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=test/20000101/us-east-1/s3/aws4_request, SignedHeaders=, "
    "Signature="
}
"""moto gives objects to those who sign, and checks no signature."""
PROGRESS = re.compile(r"<Key>([^<]*/progress\.json)</Key>")


class Observer:
    """Use it as a context. Its workers leave their step there every second, which is how finely it sees."""

    def __init__(self, topology: Topology) -> None:
        self._services = topology.services
        self._seen: list[tuple[float, int]] = []
        self._fault_at = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="observer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        assert error or self._seen, "nothing was seen of the training"

    def mark(self) -> None:
        """The fault begins now."""
        self._fault_at = time.monotonic()

    def since_s(self) -> float:
        """Since the fault began."""
        return time.monotonic() - self._fault_at

    def lost_steps(self) -> int:
        """Steps that were seen done, and had to be done again."""
        highest = lost = 0
        for _, step in self._seen:
            lost = max(lost, highest - step)
            highest = max(highest, step)
        return lost

    def pause_s(self) -> float:
        """The longest time without a new step since the fault."""
        news, highest = [self._fault_at], 0
        for when, step in self._seen:
            if step > highest and when >= self._fault_at:
                news.append(when)
            highest = max(highest, step)
        return max((later - sooner for sooner, later in pairwise(news)), default=0.0)

    def summary(self) -> str:
        return f"{self.pause_s():.0f} s without a new step, {self.lost_steps()} steps lost"

    def _watch(self) -> None:
        while not self._stop.wait(EVERY_S):
            try:
                step = self._step()
            except (OSError, http.client.HTTPException):
                continue
            if step is not None:
                self._seen.append((time.monotonic(), step))

    def _step(self) -> int | None:
        """None before the first and after the last."""
        _, listing = self._services.get(f"{STORE_URL}/{BUCKET}?list-type=2&prefix=work/runs/")
        found = PROGRESS.search(listing.decode())
        if not found:
            return None
        status, body = self._services.get(f"{STORE_URL}/{BUCKET}/{found[1]}", SIGNED)
        if status == http.client.NOT_FOUND:
            return None
        assert status == http.client.OK, body
        step: int = json.loads(body)["step"]
        return step
