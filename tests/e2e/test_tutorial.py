"""Destructive: docs/tutorial.md, followed as written: each command succeeds, and each query has rows."""

import re
import subprocess

import pytest
from pipeline import SETTINGS, Pipeline
from repository import ROOT

pytestmark = pytest.mark.timeout(1500)
BLOCK = re.compile(r"^```(sh|sql)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ELSEWHERE = "make dashboard"  # tests/e2e/test_dashboard.py runs it
# What the text says that the reader sees
SEEN = {
    "make run": "all healthy",
    "supervisorctl": "pyspark: signalled",
    "make status": "restarted 1 time since `make up`",
    "make verify": "The ledger closes",
    "make doctor": "Nothing was found",
    "REPLAY_DRY_RUN": "truck-12",
    "make reset": "all data is removed",
}


def test_each_command_succeeds_and_each_query_has_rows(pipeline: Pipeline) -> None:
    pipeline.started("reset")
    folder = pipeline.folder.relative_to(ROOT)
    environment = {name: value for name, value in pipeline.environment.items() if name not in SETTINGS}
    exports, said = "", ""
    for language, text in BLOCK.findall((ROOT / "docs/tutorial.md").read_text()):
        if language == "sql":
            assert pipeline.sql(text), text
        elif text.startswith("export "):
            exports += text
        elif text.strip() != ELSEWHERE:
            # The stack of the tests is in another folder than the user's.
            script = exports + " &&\n".join(text.replace(" .local/stack/", f" {folder}/").splitlines())
            done = subprocess.run(["bash", "-c", script], cwd=ROOT, env=environment, text=True, timeout=600,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
            assert done.returncode == 0, f"{text}\n{done.stdout}"
            said += done.stdout
            for command, words in SEEN.items():
                assert command not in text or words in done.stdout, f"{text}\n{done.stdout}"
