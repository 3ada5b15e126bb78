"""Several processes: their total, how they are stopped, and what happens when one dies."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from generator.processes import total
from generator.run import Report
from repository import ROOT

PATHS = [str(ROOT / "common"), str(ROOT / "sensor-data-generator")]

# Runs three processes that sleep and report; {process} is what each does.
SCRIPT = """
import os, signal, sys, time
sys.path[1:1] = {paths!r}
from generator.processes import run_processes, unblock_signals
from generator.run import Report

stopped = False

def stop(*_):
    global stopped
    stopped = True

def process(connection, number):
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, stop)
    unblock_signals()
    {process}

if __name__ == "__main__":
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, stop)
    {at_first}
    print("total", *run_processes(process, [(0,), (1,), (2,)], lambda: stopped, lambda total: print(total, flush=True)))
"""


def start(folder: Path, process: str, at_first: str = "") -> subprocess.Popen[str]:
    script = folder / "run.py"
    script.write_text(SCRIPT.format(paths=PATHS, process=process, at_first=at_first))
    return subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def test_a_total_is_the_sum_name_by_name() -> None:
    one = Report(7, 2.5, 10, 8, 1, {"late": 1, "malformed": {"no_time": 2, "not_json": 0}}, "refused")
    two = Report(6, 3.5, 20, 20, 0, {"late": 5, "malformed": {"no_time": 3, "not_json": 1}})
    injected = {"late": 6, "malformed": {"no_time": 5, "not_json": 1}}
    assert total([one, two]) == Report(7, 3.5, 30, 28, 1, injected, "refused")
    assert total([Report(1, 1, 1, 1, 0)]) == Report(1, 1, 1, 1, 0)


def test_a_process_that_dies_is_named_and_its_unacknowledged_records_count_as_failed(tmp_path: Path) -> None:
    dies = "connection.send(Report(1, 2, 10, 7, 1)); os.kill(os.getpid(), signal.SIGKILL)"
    run = start(tmp_path, f"exec({dies!r}) if number == 1 else connection.send(Report(1, 4, 20, 19, 1, ended=True))")
    said, errors = run.communicate(timeout=60)
    assert errors == "process 2 of 3 died, exit code -9; it had sent 10 records or more\n"
    last = said.splitlines()[-1]
    assert last == f"total {Report(1, 4, 50, 45, 5, None, 'process 2 of 3 died, exit code -9')} [1]"


@pytest.mark.parametrize(("signum", "to_all"), [(signal.SIGTERM, False), (signal.SIGINT, True)])
def test_the_processes_report_as_one_and_a_signal_ends_all_of_them(tmp_path: Path, signum: int, to_all: bool) -> None:
    until_stopped = "connection.send(Report(1, 2, 10, 9, 0))\nwhile not stopped: time.sleep(0.05)"
    end = "connection.send(Report(2, 4, 20 + number, 19, 1, ended=True))"
    run = start(tmp_path, f"exec({until_stopped!r}); {end}")
    assert run.stdout
    assert run.stdout.readline() == f"{Report(1, 2, 30, 27, 0)}\n"
    (os.killpg if to_all else os.kill)(run.pid, signum)  # Ctrl-C goes to every process of the terminal
    assert run.communicate(timeout=60) == (f"total {Report(2, 4, 63, 57, 3)} []\n", "")


def test_a_signal_that_comes_before_a_process_is_ready_is_not_lost(tmp_path: Path) -> None:
    until_stopped = "while not stopped: time.sleep(0.05)"
    run = start(tmp_path, f"exec({until_stopped!r}); connection.send(Report(0, 0, 0, 0, 0, ended=True))", "stop()")
    assert run.communicate(timeout=60) == (f"total {Report(0, 0, 0, 0, 0)} []\n", "")


# The generator with a Kafka that acknowledges everything at once.
GENERATOR = """
import sys
sys.path[1:1] = {paths!r}
import generator.main, generator.run, producer
from generator.fleet import WHOLE

class Kafka:
    sent = acknowledged = failed = 0
    last_error = None

    def __init__(self, *_):
        pass

    def send(self, records):
        self.sent = self.acknowledged = self.sent + len(list(records))

    def settle(self):
        pass

    def close(self, timeout=0):
        pass

class Log:
    def __init__(self, *_):
        pass

    update = close = __init__

class Member:
    def __init__(self, *_, **__):
        pass

    def take_first(self):
        return WHOLE

    def take(self, *_):
        pass

    is_over = leave = give_back = take

generator.main.RunLog = Log
generator.main.Member = Member
generator.main.connect = generator.run.Deliveries = Kafka
generator.main.last_seq = lambda *_: {{}}

if __name__ == "__main__":
    sys.exit(producer.main())
"""


@pytest.mark.parametrize("processes", ["1", "3"])
def test_a_run_reports_the_vehicles_of_all_processes_and_ends_at_a_signal(tmp_path: Path, processes: str) -> None:
    script, state_file = tmp_path / "run.py", tmp_path / "state.json"
    script.write_text(GENERATOR.format(paths=PATHS))
    settings = {"NUM_ENTITIES": "10", "SENSOR_INTERVAL": "0.1", "NUM_PROCESSES": processes, "DUPLICATE_SHARE": "1"}
    run = subprocess.Popen(
        [sys.executable, str(script)],
        env={**os.environ, **settings, "GENERATOR_STATE_FILE": str(state_file)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert run.stderr
    lines = [next(line for line in run.stderr if "INFO sensorgenerator: iteration" in line)]
    sending = json.loads(state_file.read_text())
    assert (sending["state"], sending["pid"]) == ("sending", run.pid)
    run.send_signal(signal.SIGTERM)
    lines += run.communicate(timeout=60)[1].splitlines()
    assert run.returncode == 0
    state = json.loads(state_file.read_text())
    sent = state["run"]["sent"]
    assert lines[-1].endswith(f"INFO sensorgenerator: stopped by SIGTERM: {sent} sent, {sent} acknowledged, 0 failed")
    assert state["state"] == "stopped"
    assert sent == state["run"]["acknowledged"] == state["run"]["injected"]["readings"]
    assert state["run"]["injected"]["duplicates"] == sent / 2 > 0
    assert sent >= sending["run"]["sent"] >= 2 * 10


def test_the_processes_end_with_a_main_process_that_is_killed(tmp_path: Path) -> None:
    """Or they would send the vehicles that others have by then."""
    script = tmp_path / "run.py"
    script.write_text(GENERATOR.format(paths=PATHS))
    settings = {"SENSOR_INTERVAL": "60", "NUM_PROCESSES": "3", "GENERATOR_STATE_FILE": str(tmp_path / "state.json")}
    run = subprocess.Popen(
        [sys.executable, str(script)], env={**os.environ, **settings}, stderr=subprocess.PIPE, text=True
    )
    assert run.stderr
    next(line for line in run.stderr if "INFO sensorgenerator: iteration" in line)
    left = psutil.Process(run.pid).children(recursive=True)
    assert len(left) >= 3
    run.kill()
    run.communicate(timeout=3)  # all have closed their standard error
    assert not psutil.wait_procs(left, timeout=3)[1]
