"""How tests reach the repository's files and run its scripts."""

import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from service.settings import from_constants

if TYPE_CHECKING:
    from windows_job.settings import Settings

ROOT = Path(__file__).resolve().parent.parent


def windows_job_script() -> ModuleType:
    """pyspark/pyspark.py under a name of its own, since `import pyspark` means PySpark."""
    name = "windows_job_script"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, ROOT / "pyspark/pyspark.py")
        assert spec and spec.loader
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


def job_settings(**changed: Any) -> "Settings":
    """The constants of pyspark.py, some of them changed."""
    from windows_job.settings import Settings  # noqa: PLC0415 (conftest.py, which adds its folder, imports this module)

    return replace(from_constants(Settings, vars(windows_job_script())), **changed)


def run_script(
    command: list[str], environment: dict[str, str], folder: Path = ROOT, timeout: float = 100
) -> subprocess.CompletedProcess[str]:
    """Run a script as a user would, with nothing in its environment but what is given and the path of common/."""
    return subprocess.run(
        command,
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT / "common"), **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def assert_one_sentence(said: str) -> None:
    """An error as users should see it: no traceback, one line."""
    assert "Traceback" not in said
    assert len(said.strip().splitlines()) == 1, said
