"""A second user of the machine, who wants root's files and to run code as root: each attack as it worked, and
as it is now.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.support.hosts import namespaces
from tests.support.project import until

ROOT = Path(__file__).parents[2]
OTHER_USER = 65534
BECOME = f"""
import contextlib, os, pickle, shutil, sqlite3, sys
from pathlib import Path
os.setgroups([]); os.setgid({OTHER_USER}); os.setuid({OTHER_USER})
"""
"""Once all is imported: the other user need not be able to read this interpreter's files."""
EXCHANGE_DATABASES = f"""{BECOME}
class Code:
    def __reduce__(self):
        return os.system, (f"id -u >> {{sys.argv[1]}}",)

for project in list(Path(sys.argv[2]).glob("repo/*")):
    theirs = project.with_name("theirs")
    project.rename(theirs)
    shutil.copytree(theirs, project)
    with contextlib.closing(sqlite3.connect(project / "links/cache.db")) as links, links:
        links.execute("UPDATE Cache SET mode = 4, key = '.dvcignore', value = ?", (pickle.dumps(Code()),))
"""
"""DVC lets everybody write in repo/, so its folder of a project can be exchanged. `dvc checkout` looks at
each of its links."""
CHECKOUT = """
mount -t tmpfs -o mode=1777 none /var/tmp
git init -q
dvc init -q
[ "$MENDED" = no ] || python -m pipeline.repro.site_cache
echo 1 > data.csv
dvc add -q data.csv
python -c "$ATTACK" "$MARK" "$PLACE" || echo refused
dvc checkout -q
"""
"""Of a user, and in the middle of the other one's; in a /var/tmp of their own."""
START_RAY = """
import os, sys
from pathlib import Path
import pipeline.process.environment
from pipeline.launch.ray_cluster import LOCAL_SETTINGS, RAY_SETTINGS, _local, _ray_folder, _token
from pipeline.base.yaml_file import read_yaml
from pipeline.launch.resources import Resources

resources = Resources.model_validate(read_yaml(Path("params.yaml"))["resources"])
with _ray_folder(Path(sys.argv[1])) as folder:
    os.environ.update(RAY_SETTINGS | LOCAL_SETTINGS | _token(folder))
    import ray
    given = {} if sys.argv[2] == "mended" else {"_temp_dir": str(folder)}
    ray.init(**_local(resources, folder) | given, logging_level="ERROR", log_to_driver=False)
    print(folder, flush=True)
    sys.stdin.read()
"""
LINK_LOGS = f"""{BECOME}
secret = sys.argv[2]
for path, _, files in os.walk(sys.argv[1], onerror=print):
    if "debug_state.txt" in files:
        os.remove(f"{{path}}/debug_state.txt")
        os.symlink(secret, f"{{path}}/debug_state.txt")
        print("linked")
"""
"""A raylet writes this file anew every 10 s, and follows a link."""
DUMP_S = 30.0


@pytest.fixture(autouse=True)
def _needs_root() -> None:
    if reason := namespaces.unsupported():
        pytest.skip(reason)


@pytest.mark.parametrize("mended", ["yes", "no"])
def test_nobody_else_gives_dvc_code_to_run(tmp_path: Path, mended: str) -> None:
    """tmp_path is root's alone, so the mark in it is made by root. Twin: DVC's own place."""
    (tmp_path / "project").mkdir()
    home, mark = tmp_path / "home", tmp_path / "mark"
    place = home / ".cache/espalier/dvc-site" if mended == "yes" else Path("/var/tmp/dvc")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "XDG_"))}
    environment |= {"DVC_NO_ANALYTICS": "1", "PYTHONPATH": str(ROOT), "HOME": str(home), "MENDED": mended}
    environment |= {"ATTACK": EXCHANGE_DATABASES, "MARK": str(mark), "PLACE": str(place)}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
    command = ["unshare", "--mount", "bash", "-euc", CHECKOUT]
    done = subprocess.run(
        command, cwd=tmp_path / "project", env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    if mended == "yes":
        assert (done.stdout, mark.exists()) == ("refused\n", False)
    else:
        assert mark.read_text() == "0\n", "the attack is none"


def written(folder: Path, name: str) -> bool:
    """Whether a file of this name lies somewhere below the folder."""
    return any(folder.rglob(name))


@contextmanager
def local_ray(run: Path, kind: str) -> Iterator[Path]:
    """Its folder, while it runs."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", START_RAY, str(run), kind],
        cwd=ROOT,
        env=environment,
        stdin=pipe,
        stdout=pipe,
        text=True,
    ) as ray:
        assert ray.stdout is not None
        try:
            yield Path(ray.stdout.readline().strip())
        finally:
            ray.communicate(timeout=60)


def test_nobody_else_has_ray_overwrite_a_file(tmp_path: Path) -> None:
    """Twin: Ray in the folder itself."""
    secrets = {kind: tmp_path / kind for kind in ("mended", "twin")}
    for secret in secrets.values():
        secret.touch(0o600)
        secret.write_text("secret")
    with local_ray(tmp_path / "a", "mended") as mended, local_ray(tmp_path / "b", "twin") as twin:
        said = {}
        for folder, secret in ((mended, secrets["mended"]), (twin, secrets["twin"])):
            attack = [sys.executable, "-c", LINK_LOGS, str(folder), str(secret)]
            until(partial(written, folder, "debug_state.txt"), "the raylet has begun its log", DUMP_S)
            said[folder] = subprocess.run(attack, capture_output=True, text=True, check=True).stdout
        assert said[twin] == "linked\n"
        assert "Permission denied" in said[mended]
        until(lambda: secrets["twin"].read_text() != "secret", "the raylet writes through the link", DUMP_S)
        assert secrets["mended"].read_text() == "secret"
