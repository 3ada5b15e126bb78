"""`make run`: up, then show the counts grow until the generator has ended and what it sent can be queried."""

import time
from collections.abc import Mapping

from local_stack import manager
from local_stack.checks import describe_run, own_state
from local_stack.errors import StackError, Unhealthy
from local_stack.logs import last_message
from local_stack.pipeline import Pipeline, pipeline
from local_stack.service import Process
from local_stack.services import GENERATOR, services
from local_stack.up import up

CATCH_UP_LIMIT = 180  # seconds that the rest of the pipeline may need after the generator's end
UNCHANGED_LIMIT = 60  # seconds; after a restart Druid needs less to have its newest rows back


def run(environment: Mapping[str, str]) -> None:
    """Raises StackError, also when the generator failed or not everything could be queried in time."""
    begin = time.monotonic()
    before = manager.processes().get(GENERATOR)
    up(environment)
    if before and before.state == "EXITED" and generator().started_at == before.started_at:
        manager.start_process(GENERATOR)  # it had finished an earlier run
    data = pipeline(environment)
    while generator().runs:
        print(
            f"{time.monotonic() - begin:4.0f} s  readings in Kafka {data.kafka.records(data.raw_topic):,},"
            f" in Druid {data.rows('raw'):,}; windows in Druid {data.rows('aggregated'):,}",
            flush=True,
        )
        time.sleep(5)
    state_file = services(environment)[GENERATOR].state_file
    assert state_file
    print(f"the generator has ended: {describe_run(own_state(state_file, generator()))}", flush=True)
    complete = wait_until_queryable(data, begin)
    print_summary(data)
    if generator().failed:
        raise StackError(f"The generator failed: {last_message(GENERATOR)}")
    if not complete:
        raise StackError(f"Not everything was queryable {CATCH_UP_LIMIT} s after the generator's end: `make status`.")


def generator() -> Process:
    return manager.running()[GENERATOR]


def wait_until_queryable(data: Pipeline, begin: float) -> bool:
    """Wait until Druid has every record that Kafka has, as a reading or as a rejected one, and every window emitted.

    Of records that retention has removed Druid still has the rows: what doesn't change any more is as far as it goes.
    """
    give_up = time.monotonic() + CATCH_UP_LIMIT
    unchanged_since, last = time.monotonic(), ""
    while time.monotonic() < give_up:
        totals, complete = None, False
        try:
            readings, windows, rejected, late = map(data.rows, ("raw", "aggregated", "rejected", "late"))
            totals = data.job_totals()
            rows = {"records": readings + rejected, "windows": windows, "rejected": rejected, "late": late}
            complete = rows == totals
            line = (
                f"records in Kafka {data.kafka.records(data.raw_topic):,}, readings in Druid {readings:,},"
                f" rejected {rejected:,}, late {late:,}; windows in Druid {windows:,}"
            )
        except Unhealthy as reason:  # after a restart Druid's tasks read again what they held, at worst a minute late
            line = f"waiting: {reason}"
            manager.running()
        if complete:
            return True
        if line != last:
            unchanged_since, last = time.monotonic(), line
            print(f"{time.monotonic() - begin:4.0f} s  {line}", flush=True)
        elif totals and time.monotonic() - unchanged_since > UNCHANGED_LIMIT:
            return True
        time.sleep(1)
    return False


def print_summary(data: Pipeline) -> None:
    names = data.datasources
    in_windows = data.druid.number(f'SELECT SUM("count") AS n FROM "{names["aggregated"]}"')
    lines = [
        (data.kafka.records(data.raw_topic), f"records in Kafka's topic {data.raw_topic}"),
        (data.rows("raw"), f"rows in Druid's datasource {names['raw']}"),
        (data.rows("aggregated"), f"rows in Druid's datasource {names['aggregated']}"),
        (in_windows, "readings in these windows"),
    ]
    if rejected := data.rows("rejected"):
        lines.append((rejected, f"rejected records, with the reason in Druid's datasource {names['rejected']}"))
    if late := data.rows("late"):
        lines.append((late, f"late readings, with their window in Druid's datasource {names['late']}"))
    if still_open := data.open_windows():
        seconds = data.closing_seconds()
        lines.append((still_open, f"windows still open; they close by themselves {seconds} s after the last reading"))
    print()
    for count, description in lines:
        print(f"  {count:>12,}  {description}")
    print(f"\nThe stack stays up (`make down` stops it). Query it in Druid's console: {data.druid.console}")
