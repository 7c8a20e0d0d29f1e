"""Nothing leaves the machine: a whole repro in a network whose only way out counts packets, and throws them
away.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hosts import namespaces
from tests.support.project import Project, fresh_project
from tests.unit.process.test_environment_telemetry import CI

SWITCH = '    "ORT_DISABLE_TELEMETRY": "1",'
RESOLVER = "192.0.2.53"
LOOPBACK_NAME = f"{RESOLVER}:53 1.0.0.127.in-addr.arpa"
"""torch asks the resolver for the name of 127.0.0.1 when workers on this machine meet (TCPStore). It tells
nobody anything."""
WATCH = """
import socket, sys
watched = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))  # every protocol
watched.bind(("hole", 0))
print("SENT:", flush=True)
while True:
    packet = watched.recv(2048)[14:]
    datagram = packet[(packet[0] & 15) * 4:]
    port = int.from_bytes(datagram[2:4], "big")
    labels, rest = [], datagram[20:] if port == 53 else b""
    while rest and rest[0]:
        labels, rest = [*labels, rest[1:1 + rest[0]].decode(errors="replace")], rest[1 + rest[0]:]
    print(f"{socket.inet_ntoa(packet[16:20])}:{port} {'.'.join(labels)}", flush=True)
"""
IN_SINK = """
ip link set lo up
ip link add sink type veth peer name hole
for end in sink hole; do
    [ ! -e /proc/sys/net/ipv6 ] || echo 1 > /proc/sys/net/ipv6/conf/$end/disable_ipv6
    ip link set $end up
done
ip address add 192.0.2.1/24 dev sink
ip neighbour add $RESOLVER lladdr 02:00:00:00:00:01 dev sink
ip route add default via $RESOLVER
echo nameserver $RESOLVER > "$HOME/resolv.conf"
mount --bind "$HOME/resolv.conf" /etc/resolv.conf
python -c "$WATCH" > "$HOME/sent" &
trap "kill $!" EXIT
until [ -s "$HOME/sent" ]; do sleep 0.1; done
"$@"
sleep 1
cat "$HOME/sent"
"""
"""Runs a command in namespaces of its own, and prints what was sent beyond loopback, last. Nobody is at the
other end of the cable. IPv6 says hello there by itself, so it is off; names are asked for over IPv4. The
addresses are RFC 5737's."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    if reason := namespaces.unsupported():
        pytest.skip(reason)
    with fresh_project(tmp_path_factory.mktemp("project")) as project:
        home = project.scratch / "home"
        home.mkdir()
        project.environment |= {
            "HOME": str(home),
            "XDG_CACHE_HOME": str(home / ".cache"),
            "XDG_CONFIG_HOME": str(home),
        }
        yield project


def sent(project: Project, *command: str) -> set[str]:
    """Who was sent a packet, and the name that was asked for. Nothing tells the command that it is in CI,
    where some libraries are silent by themselves.
    """
    quiet = [
        f"--unset={name}"
        for name in (*CI, "PYTEST_CURRENT_TEST", "ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY")
    ]
    words = ["env", *quiet, "unshare", "--net", "--mount", "bash", "-euc", IN_SINK, "sink", *command]
    done = project.run(*words, RESOLVER=RESOLVER, WATCH=WATCH)
    return set(done.expect_success().out.rpartition("SENT:\n")[2].splitlines())


def left_ids(project: Project) -> list[Path]:
    return list((project.scratch / "home").rglob("deviceid"))


def test_a_lookup_is_seen(project: Project) -> None:
    look = "import contextlib, socket\nwith contextlib.suppress(OSError): socket.gethostbyname('example.org')"
    assert sent(project, "python", "-c", look) == {f"{RESOLVER}:53 example.org"}
    assert sent(project, "true") == set()


def test_a_whole_repro_sends_nothing(project: Project) -> None:
    assert sent(project, "dvc", "repro") - {LOOPBACK_NAME} == set()
    assert sent(project, "espalier", "summary") == set()
    assert left_ids(project) == []


def test_a_model_that_was_registered_is_served_in_silence(project: Project) -> None:
    serve = "import mlflow; mlflow.set_tracking_uri('sqlite:///.espalier/mlflow/mlflow.db'); "
    serve += "mlflow.pyfunc.load_model('models:/digits@champion')"
    assert sent(project, "env", "MLFLOW_DISABLE_TELEMETRY=true", "python", "-c", serve) == set()
    assert left_ids(project) == []


def test_a_stage_without_the_switch_would_be_noticed(project: Project) -> None:
    """The twin. It comes last: it changes the project."""
    environment = project.root / "pipeline/process/environment.py"
    text = environment.read_text()
    assert SWITCH in text
    environment.write_text(text.replace(SWITCH, "#" + SWITCH))
    assert sent(project, "python", "-m", "stages.evaluate", "dense") == {
        f"{RESOLVER}:53 mobile.events.data.microsoft.com"
    }
    assert len(left_ids(project)) == 1
