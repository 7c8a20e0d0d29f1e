"""infra/README.md names every file, and no other."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.infra.manifests import INFRA

README = (INFRA / "README.md").read_text()


def bash_blocks() -> list[str]:
    return re.findall(r"```bash\n(.*?)```", README, re.S)


def test_the_table_is_the_folder() -> None:
    table = re.findall(r"^\| `([^`]+)` \|", README, re.M)
    hidden = {"README.md", "__init__.py"}
    files = {
        str(path.relative_to(INFRA))
        for path in INFRA.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert set(table) == files - hidden
    assert len(table) == len(set(table))


def test_paths_in_commands_exist() -> None:
    paths = {path for block in bash_blocks() for path in re.findall(r"\binfra/[\w./-]+", block)}
    assert len(paths) >= 6
    assert [path for path in paths if not (INFRA.parent / path).exists()] == []


@pytest.mark.parametrize("block", bash_blocks())
def test_the_shell_takes_the_commands(block: str) -> None:
    assert subprocess.run(["bash", "-n", "-c", block], check=False).returncode == 0


def test_the_file_of_passwords_has_what_compose_asks_for(tmp_path: Path) -> None:
    """The README's own lines, in another home."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on this machine")
    lines = next(block for block in bash_blocks() if "docker compose" in block).splitlines()
    script = "\n".join(line for line in lines if not line.startswith("docker"))
    subprocess.run(
        ["bash", "-e", "-c", script], env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}, check=True
    )
    written = (tmp_path / ".config/espalier/env").read_text().splitlines()
    required = set(re.findall(r"\$\{(\w+):\?", (INFRA / "compose.yaml").read_text()))
    assert {line.partition("=")[0] for line in written} == required
    assert all(line.partition("=")[2] for line in written)
