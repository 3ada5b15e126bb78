"""pyspark.py: its settings, and that it starts from everywhere. What it computes is in tests/integration."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
from rooms import ROOT, assert_one_sentence, run_script, windows_job

from install import java

job = windows_job()
session = import_module("session")  # its neighbour
SCRIPT = str(ROOT / "pyspark/pyspark.py")


@pytest.mark.parametrize(
    ("duration", "seconds"), [("1 minute", 60), ("90 seconds", 90), (" 2  hours ", 7200), ("1 day", 86400)]
)
def test_a_duration(duration: str, seconds: int) -> None:
    assert job.duration_seconds("window_duration", duration) == seconds


@pytest.mark.parametrize(
    "duration", ["", "1", "minute", "0 seconds", "-1 minute", "1.5 minutes", "1 fortnight", "9999 days"]
)
def test_a_malformed_duration(duration: str) -> None:
    with pytest.raises(job.BadSetting, match="WINDOW_DURATION .or window_duration. is .*: it must be"):
        job.duration_seconds("window_duration", duration)


@pytest.mark.parametrize("folder", [ROOT, ROOT / "pyspark", Path("/")])
@pytest.mark.parametrize("launcher", ["python", "spark-submit"])
def test_it_starts_from_any_folder_and_says_what_is_wrong(launcher: str, folder: Path) -> None:
    """A wrong setting is found after all imports: so PySpark was found, and not this file in its place."""
    bin_folder = Path(sys.executable).parent
    program = sys.executable if launcher == "python" else str(bin_folder / "spark-submit")
    environment = {
        "WINDOW_DURATION": "soon",
        "JAVA_HOME": str(Path(java()).resolve().parent.parent),
        "PATH": f"{bin_folder}:{os.defpath}",
    }
    result = run_script([program, SCRIPT], environment, folder)
    assert result.returncode == 2
    said = result.stdout + result.stderr  # spark-submit puts both of a script's outputs on its standard output
    sentence = [line for line in said.splitlines() if "WINDOW_DURATION" in line]
    assert sentence == [
        "WINDOW_DURATION (or window_duration) is 'soon': it must be a whole number above 0 and a unit"
        ' (second, minute, hour or day), as in "90 seconds" or "1 minute".'
    ]
    assert "Traceback" not in said
    if launcher == "python":
        assert_one_sentence(result.stderr)


@pytest.mark.parametrize(
    ("code", "words"), [(3, "set SPARK_DRIVER_MEMORY .* higher"), (-9, "Spark's process did, with -9")]
)
def test_the_end_of_sparks_process_is_named(code: int, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ending = f"import os; os.kill(os.getpid(), {-code})" if code < 0 else f"raise SystemExit({code})"
    process = subprocess.Popen([sys.executable, "-c", ending])

    def lost() -> None:
        raise ConnectionRefusedError("Connection refused")

    monkeypatch.setattr(job, "run", lost)
    monkeypatch.setattr(session.SparkContext, "_gateway", SimpleNamespace(proc=process))
    with pytest.raises(SystemExit, match=f"(?i){words}"):
        job.main()


def test_the_innermost_java_cause_is_what_is_said() -> None:
    error = Exception("o123.start\norg.apache.X: outer\n\tat a.b\nCaused by: java.io.IOException: disk full\n\tat c.d")
    assert session.first_line(error) == "java.io.IOException: disk full"
