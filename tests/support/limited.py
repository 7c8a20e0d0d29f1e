"""A process that may write no file of more than some bytes, as on a full disk, for those who may not mount
one.
"""

import subprocess
import sys

LIMIT = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))
"""


def run_limited(
    code: str, *words: str, most_bytes: int, environment: dict[str, str]
) -> "subprocess.CompletedProcess[str]":
    """Run a program with its words in such a process.

    It writes no bytecode (-B): Python would put the first bytes of what it compiles into site-packages, and
    whoever imports that package from then on would meet "marshal data too short".
    """
    command = [sys.executable, "-B", "-c", LIMIT.format(most_bytes) + code, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
