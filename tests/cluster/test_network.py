"""Nothing leaves the machine: a whole repro in a network whose only way out counts packets, and throws them away."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import namespaces
from tests.e2e.project import Project, fresh_project
from tests.unit.test_telemetry import CI

SWITCH = '    "ORT_DISABLE_TELEMETRY": "1",'
IN_SINK = """
ip link set lo up
ip link add sink type veth peer name hole
for end in sink hole; do
    [ ! -e /proc/sys/net/ipv6 ] || echo 1 > /proc/sys/net/ipv6/conf/$end/disable_ipv6
    ip link set $end up
done
ip address add 192.0.2.1/24 dev sink
ip neighbour add 192.0.2.53 lladdr 02:00:00:00:00:01 dev sink
ip route add default via 192.0.2.53
echo nameserver 192.0.2.53 > "$HOME/resolv.conf"
mount --bind "$HOME/resolv.conf" /etc/resolv.conf
"$@" || exit
awk '$1 == "sink:" { print $11 }' /proc/net/dev
"""
"""Runs a command in namespaces of its own, and prints how many packets were sent beyond loopback, last. Nobody is at the other
end of the cable. IPv6 says hello there by itself, so it is off; names are asked for over IPv4. The addresses are RFC 5737's."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    if reason := namespaces.unsupported():
        pytest.skip(reason)
    with fresh_project(tmp_path_factory.mktemp("project")) as project:
        home = project.scratch / "home"
        home.mkdir()
        project.environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache"), "XDG_CONFIG_HOME": str(home)}
        yield project


def sent(project: Project, *command: str) -> int:
    """Packets. Nothing tells the command that it is in CI, where some libraries are silent by themselves."""
    quiet = [f"--unset={name}" for name in (*CI, "PYTEST_CURRENT_TEST", "ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY")]
    done = project.run("env", *quiet, "unshare", "--net", "--mount", "bash", "-euc", IN_SINK, "sink", *command)
    return int(done.expect_success().out.split()[-1])


def left_ids(project: Project) -> list[Path]:
    return list((project.scratch / "home").rglob("deviceid"))


def test_a_lookup_is_counted(project: Project) -> None:
    look = "import contextlib, socket\nwith contextlib.suppress(OSError): socket.gethostbyname('example.org')"
    assert sent(project, "python", "-c", look) > 0
    assert sent(project, "true") == 0


def test_a_whole_repro_sends_nothing(project: Project) -> None:
    assert sent(project, "dvc", "repro") == 0
    assert sent(project, "espalier", "summary") == 0
    assert left_ids(project) == []


def test_a_model_that_was_registered_is_served_in_silence(project: Project) -> None:
    serve = "import mlflow; mlflow.set_tracking_uri('sqlite:///.espalier/mlflow/mlflow.db'); "
    serve += "mlflow.pyfunc.load_model('models:/digits@champion')"
    assert sent(project, "env", "MLFLOW_DISABLE_TELEMETRY=true", "python", "-c", serve) == 0
    assert left_ids(project) == []


def test_a_stage_without_the_switch_would_be_noticed(project: Project) -> None:
    """The twin. It comes last: it changes the project."""
    environment = project.root / "pipeline/environment.py"
    text = environment.read_text()
    assert SWITCH in text
    environment.write_text(text.replace(SWITCH, "#" + SWITCH))
    assert sent(project, "python", "-m", "stages.evaluate", "dense") > 0
    assert len(left_ids(project)) == 1
