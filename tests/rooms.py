"""How tests reach the rooms' files."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent


def windows_job() -> ModuleType:
    """pyspark/pyspark.py under a name of its own, since `import pyspark` means PySpark."""
    name = "windows_job"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, ROOT / "pyspark/pyspark.py")
        assert spec and spec.loader
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


def run_script(
    command: list[str], environment: dict[str, str], folder: Path = ROOT, timeout: float = 100
) -> subprocess.CompletedProcess[str]:
    """Run a script of ours as a user would, with nothing in its environment but what is given."""
    return subprocess.run(
        command,
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def assert_one_sentence(said: str) -> None:
    """An error as users should see it: no traceback, one line."""
    assert "Traceback" not in said
    assert len(said.strip().splitlines()) == 1, said
