"""Case growth: how fast the stack starts, recovers from a kill, and answers queries over many readings."""

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from statistics import median

import psutil
import requests
from live_figures import Row, percentiles, readme_queries
from live_stack import Druid, LiveStack, live_stack, now, pause, say
from local_stack.paths import ROOT
from measure import WrongResult

STARTS = 2
LOADED = 60  # seconds under the default load before a stack is stopped, or a part killed

PARTS = ["kafka0", "pyspark", "zookeeper", "coordinator", "broker", "historical", "indexer", "router"]
KILLS = 2  # of each part
KILL_INTERVAL = 10  # seconds from a recovery to the next kill
RECOVERY_LIMIT = 300  # seconds
CHECK_INTERVAL = 0.1  # seconds

ROWS = 10_000_000
SHORT_WINDOWS = {"WINDOW_DURATION": "10 seconds", "WATERMARK_DURATION": "10 seconds"}  # so that there are some
FILL = {"NUM_ENTITIES": "200", "SENSOR_INTERVAL": "0", "NUM_PROCESSES": "2"}
CLOSING = 45  # seconds without readings, after which all windows are closed and can be queried
RUNS = 30  # of each query
LIMIT = 1800  # seconds to wait for the rows


def growth() -> list[Row]:
    return [*start_up(), *recovery(), *queries()]


def start_up() -> list[Row]:
    """How long `make up` takes without data and after `make down`. The jars are installed; the page cache stays."""
    cold, warm, back = [], [], []
    for number in range(STARTS):
        say(f"start {number + 1} of {STARTS}")
        with live_stack() as stack:
            cold.append(stack.up())
            pause(LOADED, "under the default load")
            stack.make("down")
            start = time.monotonic()
            warm.append(stack.up())
            wait_until_druid_has(stack, stack.readings())  # few of them came after the start
            back.append(time.monotonic() - start)
    return [
        {"measured": "start", "what": what, **spread(seconds)}
        for what, seconds in (
            ("make up, cold", cold),
            ("make up, warm", warm),
            ("make up, warm, until all readings are queryable", back),
        )
    ]


def recovery() -> list[Row]:
    """How long it takes to recover from the SIGKILL of a part, under the default load, part by part."""
    found: dict[str, list[Row]] = {part: [] for part in PARTS}
    with live_stack() as stack:
        stack.up()
        pause(LOADED, "under the default load")
        for number in range(KILLS):
            for part in PARTS:
                found[part].append(marks := recover(stack, part))
                say(f"{part}, kill {number + 1} of {KILLS}: {marks}")
                time.sleep(KILL_INTERVAL)
    return [
        {"measured": "recovery", "part": part, "what": what, **spread([row[what] for row in rows])}
        for part, rows in found.items()
        for what in MARKS
    ]


NEW, HEALTHY, BACK = MARKS = (
    "until a reading made after it is queryable",
    "and status is healthy",
    "and all readings from before it are queryable",
)


def recover(stack: LiveStack, part: str) -> Row:
    """Kill a part and its children; the seconds until each of MARKS is reached. Raises WrongResult."""
    druid, readings, pid = stack.druid(), stack.readings(), stack.processes()[part]
    process = psutil.Process(pid)
    family = [*process.children(recursive=True), process]
    killed, start = int(now()), time.monotonic()
    for victim in family:
        with suppress(psutil.NoSuchProcess):
            victim.send_signal(signal.SIGKILL)
    say(f"{part} killed")
    query = (
        f'SELECT COUNT(*) FILTER (WHERE __time > MILLIS_TO_TIMESTAMP({killed})) AS "after",'
        f' COUNT(*) FILTER (WHERE __time <= MILLIS_TO_TIMESTAMP({killed})) AS "before" FROM "{stack.raw}"'
    )
    marks = dict[str, float]()
    while len(marks) < len(MARKS):
        if time.monotonic() - start > RECOVERY_LIMIT:
            raise WrongResult(f"{RECOVERY_LIMIT} s after {part} was killed, only these marks were reached: {marks}")
        time.sleep(CHECK_INTERVAL)
        found: list[Row] = []
        with suppress(requests.RequestException):
            found = druid.rows(query, timeout=2)
        mark(marks, NEW, any(row["after"] > 0 for row in found), start)
        mark(marks, BACK, any(row["before"] >= readings for row in found), start)
        # `make status` starts several processes, so not before it can be the last mark.
        if NEW in marks and HEALTHY not in marks and stack.processes().get(part, pid) != pid:
            mark(marks, HEALTHY, stack.is_healthy(), start)
    return {name: round(max(marks[NEW], marks[name]), 1) for name in MARKS}


def mark(marks: dict[str, float], name: str, reached: bool, start: float) -> None:
    """Keep since when a mark is reached. One that is lost again must be reached anew."""
    if reached:
        marks.setdefault(name, time.monotonic() - start)
    else:
        marks.pop(name, None)


def queries() -> list[Row]:
    """The latencies of README.md's queries over many readings, in Druid's tasks first, then in segments."""
    with live_stack() as stack:
        stack.up(**SHORT_WINDOWS)
        say(f"{ROWS:,} readings as fast as they come")
        stack.up(**FILL)
        wait_for("readings in Kafka", stack.readings, ROWS)
        stack.stop_generator()
        readings, druid = stack.readings(), stack.druid()
        wait_until_druid_has(stack, readings)
        wait_for("readings in the windows job", lambda: readings - stack.job_lag(), readings)
        pause(CLOSING, "the last windows close")
        before = timed(stack, druid, "before the handover")
        hand_over(stack)
        wait_for("readings in segments", lambda: stored(druid, stack.raw), readings)
        return before + timed(stack, druid, "after the handover")


def hand_over(stack: LiveStack) -> None:
    """Let Druid's tasks publish what they hold as segments."""
    for name in (stack.raw, stack.aggregated):
        url = f"{stack.druid_url}/druid/indexer/v1/supervisor/{name}/taskGroups/handoff"
        requests.post(url, json={"taskGroupIds": [0]}, timeout=30).raise_for_status()


def timed(stack: LiveStack, druid: Druid, stage: str) -> list[Row]:
    """Run each of the queries RUNS times, in turns."""
    examples = readme_queries((ROOT / "README.md").read_text())
    recent = f"SELECT COUNT(*) AS n FROM \"{stack.raw}\" WHERE __time > CURRENT_TIMESTAMP - INTERVAL '10' MINUTE"
    common = {
        "measured": "query", "segments": stage,
        "readings": count(druid, stack.raw), "readings in segments": stored(druid, stack.raw),
        "windows": count(druid, stack.aggregated), "readings of the last ten minutes": druid.number(recent),
    }  # fmt: skip
    took: dict[str, list[tuple[float, int]]] = {name: [] for name in examples}
    for run in range(RUNS):
        for name, query in examples.items():
            start = time.monotonic()
            druid.rows(query, timeout=300)
            took[name].append(((time.monotonic() - start) * 1000, 1))
        if run % 5 == 4:
            say(f"queries {stage}: {run + 1} of {RUNS} runs")
    rows = [{"query": name, "runs": RUNS, **percentiles(latencies)} for name, latencies in took.items()]
    for row in rows:
        del row["rows"]
        say(f"{row['query']}: p50 {row['p50 ms']} ms, p95 {row['p95 ms']} ms {stage}")
    return [common | row for row in rows]


def count(druid: Druid, datasource: str) -> int:
    return druid.number(f'SELECT COUNT(*) AS n FROM "{datasource}"')


def stored(druid: Druid, datasource: str) -> int:
    """The rows in segments that are served."""
    return druid.number(
        f"SELECT SUM(num_rows) AS n FROM sys.segments WHERE datasource = '{datasource}'"
        " AND is_published = 1 AND is_available = 1 AND is_realtime = 0"
    )


def wait_until_druid_has(stack: LiveStack, readings: int) -> None:
    druid = stack.druid()
    wait_for("readings in Druid", lambda: count(druid, stack.raw), readings)


def wait_for(what: str, count_now: Callable[[], int], wanted: int) -> None:
    """Wait until count_now() is `wanted` or more. Raises WrongResult when that takes too long."""
    start = next_line = time.monotonic()
    while (number := count_now()) < wanted:
        if time.monotonic() >= next_line:
            next_line += 10
            say(f"{number:,} of {wanted:,} {what}")
        if time.monotonic() - start > LIMIT:
            raise WrongResult(f"only {number:,} of {wanted:,} {what} after {LIMIT} s")
        time.sleep(0.5)


def spread(seconds: list[float]) -> Row:
    return {
        "runs": len(seconds),
        "seconds": round(median(seconds), 1),
        "lowest": round(min(seconds), 1),
        "highest": round(max(seconds), 1),
    }
