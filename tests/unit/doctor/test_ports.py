"""What `espalier doctor` says of ports."""

import os

from pipeline.doctor.finding import CheckResult
from pipeline.doctor.ports import Port, port
from tests.support.doctor_samples import says
from tests.support.servers import silent


def test_a_port_that_another_program_uses_is_a_problem() -> None:
    with silent() as number:
        says(
            port(Port(number, "a page", "nobody", "take another")),
            f"{number}, for a page, is used by",
            f"(pid {os.getpid()})",
        )
        assert port(Port(number, "a page", r"python\w*", "")).state == "ok"
    assert port(Port(number, "a page", "nobody", "")) == CheckResult("ok", f"{number} is free for a page")
