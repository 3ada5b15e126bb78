"""Case history: the README's queries over a day and over a week of the default load, sent at once."""

import time
from collections.abc import Iterator

from broker import PORTS
from case_growth import hand_over, stored, timed, wait_for, wait_until_druid_has
from generator.fleet import Fleet, Record
from live_figures import Row
from live_stack import live_stack, say
from readings import deliver
from service.state import iso_time

SPANS = {"a day": 86_400, "a week": 7 * 86_400}  # seconds of event time, up to now
VEHICLES, INTERVAL = 200, 5  # the default load


def history() -> list[Row]:
    return [{"span": name, **row} for name, seconds in SPANS.items() for row in queries(name, seconds)]


def queries(name: str, seconds: int) -> list[Row]:
    with live_stack() as stack:
        stack.up(SCRIPT_DURATION="0")
        say(f"the readings of {name}")
        sent, druid = send(stack.raw, seconds), stack.druid()
        wait_until_druid_has(stack, sent)
        wait_for("readings in the windows job", lambda: sent - stack.job_lag(), sent)
        hand_over(stack)
        wait_for("readings in segments", lambda: stored(druid, stack.raw), sent)
        return timed(stack, druid, "after the handover")


def send(topic: str, seconds: int) -> int:
    """Send the readings of that many seconds up to now, in order of time; returns their number. Raises WrongResult."""
    end = int(time.time()) // INTERVAL * INTERVAL
    fleet, number = Fleet(VEHICLES), 0

    def readings() -> Iterator[Record]:
        nonlocal number
        for at in range(end - seconds, end, INTERVAL):
            yield from fleet.records(iso_time(at))
            number += VEHICLES

    deliver(f"127.0.0.1:{PORTS['KAFKA_PORT']}", topic, readings())
    return number
