"""The verbs of the mode without Docker: up, run, status, down, reset (see `make help`)."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, cast
from xmlrpc.client import ServerProxy

import psutil
from supervisor.xmlrpc import SupervisorTransport

import health
import preflight
from health import AGGREGATED, CHECKS, RAW, Unhealthy
from services import (
    CONFIGURATION,
    OVERRIDES,
    PROGRESS_FILE,
    SOCKET,
    format_kafka_storage,
    router_url,
    services,
    write_configuration,
)
from settings import DATA, LOGS, STACK, VENV

START_LIMIT = 240  # seconds until everything must be healthy
STOP_LIMIT = 180  # seconds until everything must have stopped
CATCH_UP_LIMIT = 180  # seconds that the rest of the pipeline may need after the generator's end
CONSOLE = "http://localhost:{port}/unified-console.html"

State = dict[str, Any]


def manager() -> Any:
    return ServerProxy("http://127.0.0.1", SupervisorTransport(None, None, f"unix://{SOCKET}")).supervisor


def states() -> dict[str, State]:
    """What the process manager knows of each service, by name; empty when it doesn't run."""
    try:
        return {info["name"]: info for info in cast(list[State], manager().getAllProcessInfo())}
    except OSError:
        return {}


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
    running = states()
    if running:
        ctl = [str(VENV / "bin/supervisorctl"), "-c", str(CONFIGURATION), "update"]
        changed = subprocess.run(ctl, capture_output=True, text=True, check=True).stdout.strip()
        print(changed or "everything is up to date", flush=True)
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
    # What overrides a constant goes to its service and not to all, so that it ends when it is no longer given.
    own = {name for names in OVERRIDES.values() for name in names}
    environment = {name: value for name, value in os.environ.items() if name not in own}
    subprocess.run([str(VENV / "bin/supervisord"), "-c", str(CONFIGURATION)], env=environment, check=True)


def up() -> None:
    """Start what doesn't run yet and return when every part is healthy and both supervisors are RUNNING."""
    start = time.monotonic()
    start_manager()
    waiting = list(services())
    seen: dict[str, str] = {}
    while waiting:
        current = states()
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
    if name in ("pyspark", "sensorgenerator"):
        written = PROGRESS_FILE if name == "pyspark" else LOGS / f"{name}.log"
        if not written.exists() or written.stat().st_mtime < state["start"]:
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
    if before and before["statename"] == "EXITED" and states()["sensorgenerator"]["start"] == before["start"]:
        manager().startProcess("sensorgenerator", False)  # it had finished an earlier run
    while states()["sensorgenerator"]["statename"] in ("STARTING", "RUNNING"):
        print(counts(start), flush=True)
        time.sleep(5)
    print(f"the generator has ended: {last_words('sensorgenerator')}", flush=True)
    settled = wait_until_queryable(start)
    summary()
    if ended_badly(states()["sensorgenerator"]):
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
    """Wait until Druid has every reading that Kafka has and every window that the watermark has closed.

    Records of the raw topic that are no readings never become rows: what doesn't change for 20 s is as far as it goes.
    """
    give_up = time.monotonic() + CATCH_UP_LIMIT
    unchanged_since, last = time.monotonic(), ""
    while time.monotonic() < give_up:
        caught_up = complete = False
        try:
            first, end = health.raw_offsets()
            readings, emitted = health.rows(RAW), health.rows(AGGREGATED)
            closed, _ = health.windows()
            caught_up = health.job_has_caught_up() and emitted == closed
            complete = caught_up and readings == end - first
            line = (
                f"readings in Kafka {end - first:,}, in Druid {readings:,};"
                f" windows closed {closed:,}, in Druid {emitted:,}"
            )
        except Unhealthy as reason:  # after a restart Druid's tasks need up to a minute to read what they held again
            line = f"waiting: {reason}"
        if complete:
            return True
        if line != last:
            unchanged_since, last = time.monotonic(), line
            print(f"{time.monotonic() - start:4.0f} s  {line}", flush=True)
        elif caught_up and time.monotonic() - unchanged_since > 20:
            return True
        time.sleep(1)
    return False


def summary() -> None:
    first, end = health.raw_offsets()
    in_windows = health.sql(f'SELECT COUNT(*) AS n, SUM("count") AS readings FROM "{AGGREGATED}"')[0]
    _, still_open = health.windows()
    print(
        f"\n  {end - first:>12,}  readings in Kafka's topic {RAW}"
        f"\n  {health.rows(RAW):>12,}  rows in Druid's datasource {RAW}"
        f"\n  {in_windows['n']:>12,}  rows in Druid's datasource {AGGREGATED}"
        f"\n  {in_windows['readings'] or 0:>12,}  readings in these windows"
    )
    if still_open:
        print(f"  {still_open:>12,}  windows still open; readings newer by the watermark duration will close them")
    print(f"\nThe stack stays up (`make down` stops it). Query it in Druid's console: {console()}")


def status() -> None:
    """A line for each part; ends the program with 1 when one of them is not healthy."""
    current = states()
    if not current:
        sys.exit("The stack is not running: `make up` starts it.")
    bad = []
    memory = {name: rss(state["pid"]) for name, state in current.items()}
    print(f"{'part':<18}{'state':<10}{'MiB':>6}  health")
    for name in services():
        state = current[name]
        try:
            words = part(name, state)
        except Unhealthy as reason:
            bad.append(name)
            words = f"NOT HEALTHY: {reason}"
        print(f"{name:<18}{state['statename'].lower():<10}{memory[name] or '':>6}  {words}")
    print(f"{'all together':<28}{sum(memory.values()) + rss(manager().getPID(), children=False):>6}")
    print(
        f"\nrows in Druid: {RAW} {health.rows(RAW):,}, {AGGREGATED} {health.rows(AGGREGATED):,}. Console: {console()}"
    )
    if bad:
        sys.exit(f"Not healthy: {', '.join(bad)}. The logs are in {LOGS}.")


def rss(pid: int, children: bool = True) -> int:
    """MiB of memory that a process, and those it started, hold; 0 where there is none."""
    try:
        process = psutil.Process(pid) if pid else None
    except psutil.NoSuchProcess:
        process = None
    if not process:
        return 0
    family = [process, *(process.children(recursive=True) if children else [])]
    return int(sum(member.memory_info().rss for member in family) / 2**20)


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
    shutil.rmtree(STACK, ignore_errors=True)
    print("all data is gone; the next start is a first one")


def main() -> None:
    verbs: dict[str, Callable[[], None]] = {verb.__name__: verb for verb in (up, run, status, down, reset)}
    if len(sys.argv) != 2 or sys.argv[1] not in verbs:
        sys.exit(f"usage: stack.py {'|'.join(verbs)}")
    try:
        verbs[sys.argv[1]]()
    except Unhealthy as reason:
        sys.exit(f"The stack does not answer: {reason}. `make status` says more.")
    except KeyboardInterrupt:
        sys.exit("\nThe stack, where it was started, goes on in the background: `make status`, `make down`.")


if __name__ == "__main__":
    main()
