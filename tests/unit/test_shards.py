"""The fleet in several processes: what they report together, how they are stopped, and what one that dies costs."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rooms import ROOT

from shards import Report, total

# A run of shards that are made of sleep and reports; {shard} says what each does.
SCRIPT = """
import os, signal, sys, time
sys.path.append({room!r})
from shards import Report, let_signals_in, run_shards

stopped = False

def stop(*_):
    global stopped
    stopped = True

def shard(connection, number):
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, stop)
    let_signals_in()
    {shard}

if __name__ == "__main__":
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, stop)
    {at_first}
    print("total", *run_shards(shard, [(0,), (1,), (2,)], lambda: stopped, lambda total: print(total, flush=True)))
"""
REPORT_AND_END = (
    "connection.send(Report(1, 2, 10, 9, 0)); connection.send(Report(2, 4, 20 + number, 19, 1, ended=True))"
)


def start(folder: Path, shard: str, at_first: str = "") -> subprocess.Popen[str]:
    script = folder / "run.py"
    script.write_text(SCRIPT.format(room=str(ROOT / "sensor-data-generator"), shard=shard, at_first=at_first))
    return subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def test_a_total_is_the_sum_name_by_name() -> None:
    one = Report(7, 2.5, 10, 8, 1, {"late": 1, "malformed": {"no_time": 2, "not_json": 0}}, "refused")
    two = Report(6, 3.5, 20, 20, 0, {"late": 5, "malformed": {"no_time": 3, "not_json": 1}})
    key = {"late": 6, "malformed": {"no_time": 5, "not_json": 1}}
    assert total([one, two]) == Report(7, 3.5, 30, 28, 1, key, "refused")
    assert total([Report(1, 1, 1, 1, 0)]) == Report(1, 1, 1, 1, 0)


def test_a_shard_that_dies_is_named_and_what_it_had_not_heard_of_has_failed(tmp_path: Path) -> None:
    dies = "connection.send(Report(1, 2, 10, 7, 1)); os.kill(os.getpid(), signal.SIGKILL)"
    run = start(tmp_path, f"exec({dies!r}) if number == 1 else connection.send(Report(1, 4, 20, 19, 1, ended=True))")
    said, errors = run.communicate(timeout=60)
    assert errors == "process 2 of 3 died, exit code -9; it had sent 10 records or more\n"
    last = said.splitlines()[-1]
    assert last == f"total {Report(1, 4, 50, 45, 5, None, 'process 2 of 3 died, exit code -9')} [1]"


@pytest.mark.parametrize(("signum", "to_all"), [(signal.SIGTERM, False), (signal.SIGINT, True)])
def test_the_shards_report_as_one_and_a_signal_ends_all_of_them(tmp_path: Path, signum: int, to_all: bool) -> None:
    until_stopped = "connection.send(Report(1, 2, 10, 9, 0))\nwhile not stopped: time.sleep(0.05)"
    end = "connection.send(Report(2, 4, 20 + number, 19, 1, ended=True))"
    run = start(tmp_path, f"exec({until_stopped!r}); {end}")
    assert run.stdout
    assert run.stdout.readline() == f"{Report(1, 2, 30, 27, 0)}\n"
    (os.killpg if to_all else os.kill)(run.pid, signum)  # Ctrl-C goes to every process of the terminal
    assert run.communicate(timeout=60) == (f"total {Report(2, 4, 63, 57, 3)} []\n", "")


def test_a_signal_that_comes_before_a_shard_is_ready_is_not_lost(tmp_path: Path) -> None:
    until_stopped = "while not stopped: time.sleep(0.05)"
    run = start(tmp_path, f"exec({until_stopped!r}); connection.send(Report(0, 0, 0, 0, 0, ended=True))", "stop()")
    assert run.communicate(timeout=60) == (f"total {Report(0, 0, 0, 0, 0)} []\n", "")
