"""Nothing on disk is a pickle: no call that reads or writes one stands anywhere in the code."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FORBIDDEN = {
    "pickle.load", "pickle.loads", "pickle.dump", "pickle.dumps", "cloudpickle.load", "cloudpickle.dump", "dill.load",
    "torch.load", "torch.save", "torch.jit.load", "torch.export.load", "joblib.load", "joblib.dump", "yaml.unsafe_load",
    "numpy.load", "np.load", "mlflow.pytorch.log_model", "mlflow.sklearn.log_model", "eval", "exec", "os.system",
}  # fmt: skip


def calls(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)
            yield from ("shell=True" for word in node.keywords if word.arg == "shell" and ast.unparse(word.value) == "True")


def faults(root: Path) -> list[str]:
    files = sorted(path for folder in ("pipeline", "stages", "infra", "benchmarks") for path in (root / folder).rglob("*.py"))
    return [f"{path.relative_to(root)}: {call}" for path in files for call in calls(path) if call in FORBIDDEN | {"shell=True"}]


def test_no_pickle_and_no_shell() -> None:
    assert faults(ROOT) == []


def test_an_injected_pickle_and_an_injected_shell_are_found(tmp_path: Path) -> None:
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "bad.py").write_text("torch.load(path)\nsubprocess.run(text, shell=True)\n")
    assert faults(tmp_path) == ["pipeline/bad.py: torch.load", "pipeline/bad.py: shell=True"]
