"""The verbs of the mode without Docker: up, run, status, verify, down, reset (see `make help`)."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast
from xmlrpc.client import Fault, ServerProxy

import psutil
from supervisor.xmlrpc import SupervisorTransport

import health
import preflight
from health import AGGREGATED, CHECKS, DATASOURCES, RAW, REJECTED, Unhealthy
from services import (
    CONFIGURATION,
    OVERRIDES,
    SOCKET,
    format_kafka_storage,
    router_url,
    services,
    write_configuration,
)
from settings import DATA, LOGS, ROOT, STACK, VENV, env_file

START_LIMIT = 240  # seconds until everything must be healthy
STOP_LIMIT = 180  # seconds until everything must have stopped
CATCH_UP_LIMIT = 180  # seconds that the rest of the pipeline may need after the generator's end
UNCHANGED_LIMIT = 60  # seconds; after a restart Druid needs less to have its newest rows back
CONSOLE = "http://localhost:{port}/unified-console.html"

# What a user's shell has set for another Python, Spark or Kafka.
FOREIGN = re.compile(r"PYTHON(PATH|HOME)$|(PY)?SPARK_|KAFKA_")

# All that the stack makes in STACK_DIR, which may hold other things as well.
FOLDERS = ["data/kafka", "data/zookeeper", "data/druid", "data/pyspark"]
FILES = ["logs/*.log*", "supervisord.*", "supervisor.sock*", "kafka.properties", "zookeeper.properties"]

State = dict[str, Any]


def manager() -> Any:
    return ServerProxy("http://127.0.0.1", SupervisorTransport(None, None, f"unix://{SOCKET}")).supervisor


def states() -> dict[str, State]:
    """What the process manager knows of each service, by name; empty when it doesn't run."""
    try:
        return {info["name"]: info for info in cast(list[State], manager().getAllProcessInfo())}
    except OSError:
        return {}


def running() -> dict[str, State]:
    """The same while the stack should run; ends the program when it doesn't."""
    return states() or sys.exit("The stack was stopped.")


def ended_badly(state: State) -> bool:
    return bool(state["statename"] == "FATAL" or (state["statename"] == "EXITED" and state["exitstatus"] != 0))


def last_words(name: str, lines: int = 1) -> str:
    """The end of a service's log."""
    try:
        return "\n".join((LOGS / f"{name}.log").read_text(errors="replace").strip().splitlines()[-lines:])
    except OSError:
        return "(no log)"


def start_manager() -> None:
    """Start the process manager with everything it runs, or let a running one take up what has changed."""
    for folder in (LOGS, DATA / "kafka", DATA / "pyspark", DATA / "druid/var/tmp"):
        folder.mkdir(parents=True, exist_ok=True)
    for name in ("segments", "segment-cache", "indexing-logs", "task", "processing"):
        (DATA / "druid/var/druid" / name).mkdir(parents=True, exist_ok=True)
    all_services = services()
    write_configuration(all_services)
    if states():
        print(control("supervisorctl", "update") or "everything is up to date", flush=True)
        for name, state in states().items():
            if ended_badly(state) or state["statename"] == "STOPPED":
                print(f"{name} is started again", flush=True)
                manager().startProcess(name, False)
        return
    preflight.check(all_services)
    if not (DATA / "kafka/meta.properties").exists():
        formatted = subprocess.run(format_kafka_storage(), capture_output=True, text=True)
        if formatted.returncode:
            said = (formatted.stderr or formatted.stdout).strip()[-500:]
            sys.exit(f"Kafka's log folder could not be prepared: {said}")
    control("supervisord")


def control(program: str, *arguments: str) -> str:
    """What a program of the process manager says; when it fails, this one ends with that."""
    command = [str(VENV / "bin" / program), "-c", str(CONFIGURATION), *arguments]
    done = subprocess.run(command, env=inherited(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(f"The process manager could not do its work: {done.stdout.strip()}")
    return done.stdout.strip()


def inherited() -> dict[str, str]:
    """The environment that all services get."""
    # What overrides a constant goes to its service and not to all, so that it ends when it is no longer given.
    own = {name for names in OVERRIDES.values() for name in names}
    return {name: value for name, value in os.environ.items() if name not in own and not FOREIGN.match(name)}


def up() -> None:
    """Start what doesn't run yet and return when every part is healthy and all supervisors are RUNNING."""
    start = time.monotonic()
    start_manager()
    waiting = list(services())
    seen: dict[str, str] = {}
    while waiting:
        current = running()
        for name in list(waiting):
            try:
                words = part(name, current[name])
            except KeyError:
                sys.exit(f"The process manager doesn't know {name}: see {LOGS / 'supervisord.log'}.")
            except Unhealthy as reason:
                seen[name] = str(reason)
                if ended_badly(current[name]):
                    sys.exit(f"{name} could not be started: {last_words(name)}")
                continue
            waiting.remove(name)
            print(f"{time.monotonic() - start:4.0f} s  {name:<16} {words}", flush=True)
        if waiting and time.monotonic() - start > START_LIMIT:
            for name in waiting:
                print(f"{name}: {seen[name]}\n{last_words(name, 5)}", file=sys.stderr)
            sys.exit(f"Not healthy after {START_LIMIT} s: {', '.join(waiting)}. The logs are in {LOGS}.")
        time.sleep(0.3)
    print(f"{time.monotonic() - start:4.0f} s  all healthy. Druid's console: {console()}", flush=True)


def part(name: str, state: State) -> str:
    """A few words on how a service is; raises Unhealthy when it isn't."""
    if state["statename"] == "EXITED" and state["exitstatus"] == 0:
        return CHECKS[name]() if name == "supervisor-specs" else f"ended: {last_words(name)}"
    if state["statename"] != "RUNNING":
        reason = f" ({last_words(name)})" if ended_badly(state) else ""
        raise Unhealthy(f"{state['statename'].lower()}{reason}")
    if name in ("topics", "supervisor-specs"):
        raise Unhealthy("still at work")
    # These two are known by what they write, and that must be of this run: the one before may have left it.
    if name == "pyspark" and health.job_progress().get("pid") != state["pid"]:
        raise Unhealthy("has just been started")
    log = LOGS / f"{name}.log"
    if name == "sensorgenerator" and not (log.exists() and log.stat().st_mtime >= state["start"]):
        raise Unhealthy("has just been started")
    if name == "sensorgenerator":
        words = last_words(name)
        if not words.startswith("iteration") and "vehicles send to" not in words:
            raise Unhealthy(words)
        return words
    return CHECKS[name]()


def console() -> str:
    return CONSOLE.format(port=router_url().rsplit(":", 1)[1])


def run() -> None:
    """Up, then show the counts grow until the generator has ended and what it sent can be queried."""
    start = time.monotonic()
    before = states().get("sensorgenerator")
    up()
    if before and before["statename"] == "EXITED" and running()["sensorgenerator"]["start"] == before["start"]:
        manager().startProcess("sensorgenerator", False)  # it had finished an earlier run
    while running()["sensorgenerator"]["statename"] in ("STARTING", "RUNNING"):
        print(counts(start), flush=True)
        time.sleep(5)
    print(f"the generator has ended: {last_words('sensorgenerator')}", flush=True)
    settled = wait_until_queryable(start)
    summary()
    if ended_badly(running()["sensorgenerator"]):
        sys.exit("The generator failed, see above.")
    if not settled:
        sys.exit(f"Not everything was queryable {CATCH_UP_LIMIT} s after the generator's end: see `make status`.")


def counts(start: float) -> str:
    first, end = health.raw_offsets()
    return (
        f"{time.monotonic() - start:4.0f} s  readings in Kafka {end - first:,}, in Druid {health.rows(RAW):,};"
        f" windows in Druid {health.rows(AGGREGATED):,}"
    )


def wait_until_queryable(start: float) -> bool:
    """Wait until Druid has every record that Kafka has, as a reading or as a rejected one, and every window emitted.

    Of records that retention has removed Druid still has the rows: what doesn't change any more is as far as it goes.
    """
    give_up = time.monotonic() + CATCH_UP_LIMIT
    unchanged_since, last = time.monotonic(), ""
    while time.monotonic() < give_up:
        caught_up = complete = False
        try:
            first, end = health.raw_offsets()
            readings, windows, rejected = map(health.rows, DATASOURCES)
            caught_up = health.job_has_caught_up()
            booked = caught_up and readings + rejected == end - first
            complete = booked and windows == health.windows_emitted()
            line = (
                f"readings in Kafka {end - first:,}, in Druid {readings:,}, rejected {rejected:,};"
                f" windows in Druid {windows:,}"
            )
        except Unhealthy as reason:  # after a restart Druid's tasks read again what they held, at worst a minute late
            line = f"waiting: {reason}"
            running()
        if complete:
            return True
        if line != last:
            unchanged_since, last = time.monotonic(), line
            print(f"{time.monotonic() - start:4.0f} s  {line}", flush=True)
        elif caught_up and time.monotonic() - unchanged_since > UNCHANGED_LIMIT:
            return True
        time.sleep(1)
    return False


def summary() -> None:
    first, end = health.raw_offsets()
    in_windows = health.number(f'SELECT SUM("count") AS n FROM "{AGGREGATED}"')
    print(
        f"\n  {end - first:>12,}  records in Kafka's topic {RAW}"
        f"\n  {health.rows(RAW):>12,}  rows in Druid's datasource {RAW}"
        f"\n  {health.rows(AGGREGATED):>12,}  rows in Druid's datasource {AGGREGATED}"
        f"\n  {in_windows:>12,}  readings in these windows"
    )
    if rejected := health.rows(REJECTED):
        print(f"  {rejected:>12,}  records that are no readings, with the reason in Druid's datasource {REJECTED}")
    if still_open := health.open_windows():
        seconds = health.closing_seconds()
        print(f"  {still_open:>12,}  windows still open; they close by themselves {seconds} s after the last reading")
    print(f"\nThe stack stays up (`make down` stops it). Query it in Druid's console: {console()}")


def status() -> None:
    """A line for each part; ends the program with 1 when one of them is not healthy."""
    current = states()
    if not current:
        sys.exit("The stack is not running: `make up` starts it.")
    bad = []
    memory = {name: rss(state["pid"]) for name, state in current.items()}
    all_together = sum(memory.values()) + rss(manager().getPID(), children=False)
    print(f"{'part':<18}{'state':<10}{'MiB':>6}  health")
    for name in services():
        state = current[name]
        try:
            words = part(name, state)
        except Unhealthy as reason:
            bad.append(name)
            words = f"NOT HEALTHY: {reason}"
        print(f"{name:<18}{state['statename'].lower():<10}{memory[name] or '':>6}  {words}")
    print(f"{'all together':<28}{all_together:>6}")
    rows = ", ".join(f"{name} {health.rows(name):,}" for name in DATASOURCES)
    print(f"\nrows in Druid: {rows}. Console: {console()}")
    if bad:
        sys.exit(f"Not healthy: {', '.join(bad)}. The logs are in {LOGS}.")


def verify() -> None:
    """Whether every record is accounted for (ledger/verify.py, which says it); ends the program with its exit code."""
    script = [str(VENV / "bin/python"), str(ROOT / "ledger/verify.py")]
    addresses = {"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{env_file()['KAFKA_PORT']}", "DRUID_URL": router_url()}
    sys.exit(subprocess.run(script, env={**os.environ, **addresses}).returncode)


def rss(pid: int, children: bool = True) -> int:
    """MiB of memory that a process, and those it started, hold; 0 where there is none."""
    held = 0
    with suppress(psutil.NoSuchProcess):  # each may end at any moment
        if pid:
            process = psutil.Process(pid)
            for member in (process, *(process.children(recursive=True) if children else ())):
                held += member.memory_info().rss
    return int(held / 2**20)


def down() -> None:
    """Stop everything, the generator first and Kafka last; the data stays."""
    if not states():
        print("Nothing runs.")
        return
    pid = manager().getPID()
    manager().shutdown()
    print("stopping ...", flush=True)
    try:
        psutil.Process(pid).wait(timeout=STOP_LIMIT)
    except psutil.NoSuchProcess:
        pass
    except psutil.TimeoutExpired:
        sys.exit(
            f"The process manager (process {pid}) still runs after {STOP_LIMIT} s: see {LOGS / 'supervisord.log'}."
        )
    print("stopped; the data is kept", flush=True)


def reset() -> None:
    """Stop, and remove Kafka's log, the checkpoint and Druid's data, all together: none fits without the others."""
    down()
    try:
        for name in FOLDERS:
            if (STACK / name).exists():
                shutil.rmtree(STACK / name)
        for pattern in FILES:
            for path in STACK.glob(pattern):
                path.unlink()
        for folder in (DATA, LOGS, STACK):
            if folder.exists() and not any(folder.iterdir()):
                folder.rmdir()
    except OSError as error:
        sys.exit(f"Not all data could be removed ({error}): remove what is left in {STACK} before the next start.")
    print("all data is gone; the next start is a first one")


def main() -> None:
    verbs: dict[str, Callable[[], None]] = {verb.__name__: verb for verb in (up, run, status, verify, down, reset)}
    if len(sys.argv) != 2 or sys.argv[1] not in verbs:
        sys.exit(f"usage: stack.py {'|'.join(verbs)}")
    try:
        verbs[sys.argv[1]]()
    except Unhealthy as reason:
        sys.exit(f"The stack does not answer: {reason}. `make status` says more.")
    except Fault as fault:
        sys.exit(f"The process manager refuses ({fault.faultString}): is another command stopping the stack?")
    except KeyboardInterrupt:
        sys.exit("\nThe stack, where it was started, goes on in the background: `make status`, `make down`.")


if __name__ == "__main__":
    main()
