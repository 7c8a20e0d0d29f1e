"""What tests on several hosts rely on: hosts share a network and nothing else, and nothing of them stays
behind.
"""

import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from itertools import permutations
from pathlib import Path

import psutil
import pytest

from tests.support.hosts.disk import HOME
from tests.support.hosts.hosts import CommandError, Host
from tests.support.hosts.network import Network, remains
from tests.support.hosts.service import Service
from tests.support.places import ROOT
from tests.support.project import until

SILENCE_S = 1.0
"""How long nothing must arrive for a link to count as cut; on a whole one a byte takes less than a
millisecond."""
RETRANSMITTED_S = 10.0
SLEEP = ("sleep", "600")
SERVER_PORT = 80
SERVER = """
import socket, sys
end, _ = socket.create_server((sys.argv[1], 80)).accept()
end.sendall(b"x")
end.recv(1)
"""
KILLED_RUN = """
import sys, time
from pathlib import Path
from tests.support.hosts.network import Network
network = Network(Path(sys.argv[1]))
host = network.add_host("first")
host.start(["sleep", "600"]).pause()
host.start(["sh", "-c", "setsid sleep 600 & exec sleep 600"])
print(network.marker, flush=True)
time.sleep(600)
"""


def connection(first: Host, second: Host) -> tuple[socket.socket, socket.socket]:
    """Both ends of a TCP connection from one host to another.

    An end that hears nothing for SILENCE_S raises TimeoutError.
    """
    with ExitStack() as opened, second.space.tcp_socket() as listener:
        listener.bind((second.ip, 0))
        listener.listen()
        near = opened.enter_context(first.space.tcp_socket())
        near.settimeout(SILENCE_S)
        near.connect(listener.getsockname())
        far, _ = listener.accept()
        far.settimeout(SILENCE_S)
        opened.pop_all()
    return near, far


def test_every_host_reaches_every_other_by_address_and_name(network: Network) -> None:
    hosts = [network.add_host(f"host-{number}") for number in range(3)]
    for first, second in permutations(hosts, 2):
        near, far = connection(first, second)
        with near, far:
            near.sendall(b"x")
            assert far.recv(1) == b"x"
            assert far.getpeername()[0] == first.ip
        assert first.run(["getent", "hosts", second.name]).out.split() == [second.ip, second.name]


def test_the_rest_of_the_world_is_refused_at_once(network: Network) -> None:
    with network.add_host("first").space.tcp_socket() as link:
        link.settimeout(SILENCE_S)
        with pytest.raises(OSError, match="No route to host"):
            link.connect(("192.0.2.1", 80))


def test_what_a_host_writes_no_other_sees(network: Network) -> None:
    first, second = network.add_host("first"), network.add_host("second")
    for folder in ("/tmp", "/var/tmp", "/dev/shm", str(HOME)):
        path = f"{folder}/{network.marker}"
        first.run(["touch", path])
        assert first.path(path).exists()
        assert not second.path(path).exists()
        assert not Path(path).exists()
    with pytest.raises(CommandError, match="Read-only file system"):
        first.run(["touch", f"/usr/{network.marker}"])


def test_a_host_sees_this_project_only_where_asked(network: Network) -> None:
    blind, asked = network.add_host("blind"), network.add_host("asked", visible=[ROOT / "tests"])
    assert blind.run(["test", "-e", str(ROOT / "tests")], check=False).status != 0
    asked.run(["test", "-e", str(ROOT / "tests" / "cluster")])
    assert asked.run(["test", "-e", str(ROOT / "pipeline")], check=False).status != 0
    with pytest.raises(CommandError, match="Read-only file system"):
        asked.run(["touch", str(ROOT / "tests" / "new")])


def test_a_host_has_the_interpreter_its_own_name_and_its_own_processes(network: Network) -> None:
    first, second = network.add_host("first"), network.add_host("second")
    second.start(SLEEP)
    look = "import socket, sys, psutil; print(sys.prefix, socket.gethostname(), *psutil.pids())"
    prefix, name, *pids = first.run(["python", "-c", look]).out.split()
    assert (prefix, name) == (sys.prefix, "first")
    assert len(pids) == 2  # the host's init and this command
    assert [process.name() for process in second.processes()] == ["sleep"]


def test_a_command_sees_no_variable_of_the_tests(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "elsewhere")
    host = network.add_host("first")
    host.environment["OF_HOST"] = "1"
    variables = dict(line.split("=", 1) for line in host.run(["env"], {"OF_CALL": "2"}).out.splitlines())
    assert "RAY_ADDRESS" not in variables
    assert (variables["OF_HOST"], variables["OF_CALL"], variables["HOME"]) == ("1", "2", str(HOME))


def test_a_failing_command_is_reported_with_its_output(network: Network) -> None:
    host = network.add_host("first")
    with pytest.raises(CommandError, match=r"first: .*ended with status 3\nsaid\ncomplained"):
        host.run(["sh", "-c", "echo said; echo complained >&2; exit 3"])
    assert host.run(["false"], check=False).status == 1


def test_a_command_that_takes_too_long_is_killed_with_its_children(network: Network) -> None:
    host = network.add_host("first")
    with pytest.raises(CommandError, match=r"took more than 0\.5 s"):
        host.run(["sh", "-c", "sleep 600 & sleep 600"], timeout_s=0.5)
    assert host.processes() == []


def test_a_paused_command_stands_still_until_it_is_resumed(network: Network) -> None:
    process = network.add_host("first").start(["sh", "-c", "sleep 600 & wait"])
    until(lambda: len(process.members()) == 2, "the command has a child", 5.0)
    process.pause()
    assert {member.status() for member in process.members()} == {psutil.STATUS_STOPPED}
    process.resume()
    until(
        lambda: {member.status() for member in process.members()} == {psutil.STATUS_SLEEPING},
        "it goes on",
        5.0,
    )
    process.signal(signal.SIGTERM)
    assert process.wait(5.0) == signal.SIGTERM


def test_a_folder_is_brought_to_a_host_as_a_copy(network: Network, tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "file").write_text("before")
    (tmp_path / "project" / "link").symlink_to("file")
    host = network.add_host("first")
    host.bring(tmp_path / "project", "/tmp/project")
    host.run(["sh", "-c", "echo after > link"], cwd="/tmp/project")
    assert host.path("/tmp/project/file").read_text() == "after\n"
    assert (tmp_path / "project" / "file").read_text() == "before"


class Broken(Service):
    def answers(self) -> bool:
        raise ConnectionRefusedError


def test_a_service_that_does_not_start_says_why(network: Network) -> None:
    host = network.add_host("first")
    ended = Broken(host, ["sh", "-c", "echo no room left; exit 1"], {})
    ended.start()
    with pytest.raises(TimeoutError, match=r"sh .* on first has ended:\nno room left"):
        ended.wait_ready()
    silent = Broken(host, ["sh", "-c", "echo thinking; exec sleep 600"], {})
    silent.start()
    with pytest.raises(TimeoutError, match=r"sh .* on first does not answer after 0\.5 s:\nthinking"):
        silent.wait_ready(0.5)


def test_a_pulled_cable_holds_back_what_is_sent_until_it_is_in_again(network: Network) -> None:
    first, second, third = (network.add_host(name) for name in ("first", "second", "third"))
    near, far = connection(first, second)
    with near, far:
        second.link_down()
        near.sendall(b"x")
        with pytest.raises(TimeoutError):
            far.recv(1)
        with pytest.raises(TimeoutError):
            connection(first, second)
        for end in connection(first, third):
            end.close()
        second.link_up()
        far.settimeout(RETRANSMITTED_S)
        assert far.recv(1) == b"x"
    for end in connection(first, second):
        end.close()


def test_a_killed_host_takes_all_its_processes_along_and_leaves_the_others(network: Network) -> None:
    first, second = network.add_host("first"), network.add_host("second")
    started = first.start(["sh", "-c", "setsid sleep 600 & exec sleep 600"])
    until(lambda: len(first.processes()) == 2, "both run", 5.0)
    members, other = first.processes(), second.start(SLEEP)
    first.kill()
    assert not any(member.is_running() for member in members)
    assert started.poll() == signal.SIGKILL
    assert other.poll() is None
    assert [process.name() for process in second.processes()] == ["sleep"]
    with pytest.raises(ProcessLookupError, match="this host was killed"):
        first.run(["true"])


@pytest.mark.parametrize("told", [True, False], ids=["kill", "power_off"])
def test_peers_are_told_of_a_kill_but_not_of_a_power_loss(network: Network, told: bool) -> None:
    first, second = network.add_host("first"), network.add_host("second")
    first.start(["python", "-c", SERVER, first.ip])
    with second.space.tcp_socket() as link:
        link.settimeout(SILENCE_S)
        until(lambda: link.connect_ex((first.ip, SERVER_PORT)) == 0, "the server listens", 5.0)
        assert link.recv(1) == b"x"
        if told:
            first.kill()
            assert link.recv(1) == b""
        else:
            first.power_off()
            with pytest.raises(TimeoutError):
                link.recv(1)


def test_a_network_can_be_closed_twice_and_after_its_hosts_died(network: Network) -> None:
    network.add_host("first").kill()
    network.add_host("second")
    network.close()
    network.close()
    assert remains(network.marker) == []


def test_a_failure_leaves_nothing(tmp_path: Path, network: Network) -> None:
    with pytest.raises(KeyError), Network(tmp_path) as failing:
        failing.add_host("first").start(SLEEP)
        assert remains(failing.marker)
        raise KeyError
    assert remains(failing.marker) == []


def test_a_killed_run_leaves_nothing(tmp_path: Path, network: Network) -> None:
    """Its pipes close with it, on which the hosts end; `network` makes sure that this machine
    can have hosts.
    """
    run = subprocess.Popen(
        [sys.executable, "-c", KILLED_RUN, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE
    )
    with run:
        assert run.stdout is not None
        marker = run.stdout.readline().decode().strip()
        assert remains(marker)
        run.kill()
    until(lambda: not remains(marker), "all of the killed run is gone", 5.0)


def test_nothing_is_seen_of_hosts_outside(network: Network) -> None:
    """No interface, mount, named namespace or folder: another run, or a person at the machine, meets none of
    it.
    """
    before = traces()
    network.add_host("first").run(["touch", f"/tmp/{network.marker}"])
    assert network.marker not in Path("/proc/self/mountinfo").read_text()
    assert traces() == before
    network.close()
    assert traces() == before


def traces() -> list[str]:
    """What hosts could leave on this machine: network interfaces, namespaces with a name, folders for
    temporary files.
    """
    named = Path("/run/netns")
    interfaces = [name for _, name in socket.if_nameindex()]
    return sorted([*interfaces, *map(str, named.glob("*")), *map(str, Path("/tmp").glob("espalier-*"))])
