"""Case backfill: a month of readings sent at once by the generator, and how long it takes until all of it is there."""

import time
from datetime import datetime
from typing import Any

import requests
from case_growth import LIMIT, mark
from live_figures import Row
from live_stack import LEDGER_RESULT, LiveStack, live_stack, say
from local_stack.errors import Unhealthy
from measure import WrongResult
from service import state

DAYS, VEHICLES, INTERVAL = 30, 50, 5  # seconds
FLEET = {"NUM_ENTITIES": str(VEHICLES), "SENSOR_INTERVAL": str(INTERVAL), "SCRIPT_DURATION": "36000"}
CHECK_INTERVAL = 0.5  # seconds

SENT, LIVE, READINGS, WINDOWS = MARKS = (
    "sent",
    "read by the windows job, and live readings follow",
    "all readings queryable",
    "all windows queryable",
)


def backfill() -> list[Row]:
    with live_stack() as stack:
        stack.up(SCRIPT_DURATION="0")
        say(f"{DAYS} days of {VEHICLES} vehicles, every {INTERVAL} s")
        stack.up(**FLEET, HISTORY=f"{DAYS} days")
        rows = watch(stack)
        stack.stop_generator()
        stack.verify()
        if late := state.read(LEDGER_RESULT)["figures"]["late"]:
            raise WrongResult(f"{late:,} readings are late")
        return rows


def watch(stack: LiveStack) -> list[Row]:
    """A row for each of MARKS: the seconds since the start of the generator until it is reached. Raises WrongResult."""
    run = stack.generator()["run"]
    begin = datetime.fromisoformat(run["started_at"]).timestamp()
    start = time.monotonic() - (time.time() - begin)
    druid, marks, history = stack.druid(), dict[str, float](), 0
    # Up to some minutes before the begin: the windows of the present are open.
    closed = f"__time < MILLIS_TO_TIMESTAMP({(int(begin) // 60 - 5) * 60_000})"
    windows = f'SELECT COUNT(*) AS n, TIMESTAMP_TO_MILLIS(MIN(__time)) AS "first" FROM "{stack.aggregated}"'
    while len(marks) < len(MARKS):
        if time.monotonic() - start > LIMIT:
            raise WrongResult(f"only these marks were reached after {LIMIT} s: {marks}")
        time.sleep(CHECK_INTERVAL)
        run = stack.generator()["run"]
        if SENT not in marks and is_sent(run):
            history = run["sent"]
            mark(marks, SENT, True, start)
        mark(marks, LIVE, run["iteration"] > 0, start)
        try:
            mark(marks, READINGS, bool(history) and druid.number(count_of(stack.raw)) >= history, start)
            found = druid.rows(f"{windows} WHERE {closed}")
        except (requests.RequestException, Unhealthy):
            continue
        mark(marks, WINDOWS, LIVE in marks and bool(found) and are_all(found[0], begin), start)
    say(", ".join(f"{what} after {seconds:.1f} s" for what, seconds in marks.items()))
    return [
        {
            "what": what,
            "seconds": round(marks[what], 1),
            "readings": history,
            "readings/s": round(history / marks[what]),
        }
        for what in MARKS
    ]


def is_sent(run: dict[str, Any]) -> bool:
    """Whether a run's state file says that the history is sent up to the present."""
    history = run["history"]
    return bool(run["iteration"] or (history and history["reached"] and history["unread"] is not None))


def are_all(found: Row, begin: float) -> bool:
    """Whether the windows found have one of each vehicle for each minute up to five before `begin`."""
    minutes = int(begin) // 60 - 5 - found["first"] // 60_000 if found["n"] else 0
    return minutes >= DAYS * 24 * 60 - 6 and bool(found["n"] == VEHICLES * minutes)


def count_of(datasource: str) -> str:
    return f'SELECT COUNT(*) AS n FROM "{datasource}"'
