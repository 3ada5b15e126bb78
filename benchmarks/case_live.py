"""Cases freshness and sustained: the whole stack under load, with all parts on one machine."""

import time
from statistics import median
from typing import NamedTuple

import broker  # noqa: F401  (which lets the next ones be found)
from health import AGGREGATED, RAW, Unhealthy, raw_offsets
from live_figures import (
    Arrivals,
    Latencies,
    Row,
    Sample,
    behind,
    highest_lags,
    lags,
    percentiles,
    raw_latencies,
    why_not,
    window_latencies,
    window_starts,
)
from live_stack import Druid, LiveStack, cores, live_stack, now, pause, say
from measure import Wrong


class Load(NamedTuple):
    """What the generator sends: `rate` is the least that it must be, in records/s."""

    name: str
    vehicles: int
    interval: float  # seconds
    rate: float
    window: int  # seconds


# At the default load windows of a minute would be few.
LOADS = [Load("the default load", 200, 5, 39, 10), Load("5,000 records/s", 1000, 0.19, 5000, 60)]
WATERMARK = 30  # seconds: the default of three minutes would only make it longer
WARM_UP, QUIET, POLLED = 60, 120, 180  # seconds
POLL, POLL_WINDOWS = 0.025, 0.1  # seconds from one poll to the next
TAIL = 60  # seconds that the last rows may take

RUNGS = [30_000, 60_000, 90_000]  # records/s
SUSTAINED_VEHICLES = 1000  # of all rungs: the generator looks a new vehicle's counter up in the whole topic
SUSTAINED = 300  # seconds
SETTLE = 20  # seconds
CLOSING = 60 + WATERMARK + 20  # seconds of silence, after which all windows are closed
SAMPLE = 5  # seconds from one to the next


class Polled(NamedTuple):
    """What was seen of the readings and of the windows, and how long the queries took. Milliseconds."""

    start: int
    end: int
    raw: Arrivals
    windows: Arrivals
    queries: Latencies


def freshness() -> list[Row]:
    """How long it takes until a reading, and until a window, can be queried; at the default load, what the parts use.

    A latency ends when the answer that holds the row has come: it includes the query, and the wait for the next poll.
    """
    return [row for load in LOADS for row in freshness_at(load)]


def freshness_at(load: Load) -> list[Row]:
    say(f"freshness at {load.name}")
    with live_stack() as stack:
        stack.up(
            NUM_ENTITIES=str(load.vehicles),
            SENSOR_INTERVAL=str(load.interval),
            WINDOW_DURATION=f"{load.window} seconds",
            WATERMARK_DURATION=f"{WATERMARK} seconds",
        )
        pause(load.window + WATERMARK + 5, "until the first window is closed")
        say("warm-up, with polls")
        poll(load, WARM_UP)
        rows = idle(stack, load) if load is LOADS[0] else []
        before, start = raw_offsets()[1], time.monotonic()
        polled = poll(load, POLLED)
        rate = (raw_offsets()[1] - before) / (time.monotonic() - start)
        if rate < load.rate:
            raise Wrong(f"the generator sent {rate:,.0f} records/s only")
        common = {
            "load": load.name, "vehicles": load.vehicles, "records/s": round(rate, 1), "window s": load.window,
            "watermark s": WATERMARK, "seconds": POLLED, "poll ms": POLL * 1000,
        }  # fmt: skip
        found = [{"measured": what, **common, **row} for what, row in latencies(load, polled).items()]
        say("; ".join(f"{row['measured']}: p50 {row['p50 ms']} ms, p99 {row['p99 ms']} ms" for row in found))
    return found + rows


def idle(stack: LiveStack, load: Load) -> list[Row]:
    """What each part uses while nobody asks Druid anything."""
    before, start = stack.cpu(), time.monotonic()
    pause(QUIET, "CPU and memory, without polls")
    seconds = time.monotonic() - start
    busy, held = cores(before, stack.cpu(), seconds), stack.memory()
    rows = [{"part": part, "cores": round(busy[part], 3), "MiB": held[part]} for part in busy]
    total = {"part": "all together", "cores": round(sum(busy.values()), 3), "MiB": sum(held.values())}
    return [{"measured": "use", "load": load.name, "seconds": round(seconds), **row} for row in [*rows, total]]


def poll(load: Load, seconds: float) -> Polled:
    """Ask Druid again and again for what is new; ends when all from before the time is over has come."""
    druid, window, delay = Druid(), load.window * 1000, (load.window + WATERMARK) * 1000
    start = int(now())
    end = start + round(seconds * 1000)
    raw, windows = Arrivals(load.vehicles, start), Arrivals(load.vehicles, start - delay)
    polled = Polled(start, end, raw, windows, [])
    wanted = window_starts(start, end, window, WATERMARK * 1000)
    next_poll = next_windows = next_line = time.monotonic()
    while not (raw.passed(end) and windows.complete(wanted)):
        asked = now()
        if asked > end + TAIL * 1000:
            raise Wrong(f"not all rows of {load.name} were queryable {TAIL} s after the end")
        add(druid, raw, RAW)
        polled.queries.append((now() - asked, 1))
        if time.monotonic() >= next_windows:
            next_windows += POLL_WINDOWS
            add(druid, windows, AGGREGATED)
        if time.monotonic() >= next_line:
            next_line += 30
            say(f"polls, {max(0, (end - asked) / 1000):.0f} s to go")
        next_poll = max(next_poll + POLL, time.monotonic())
        time.sleep(max(0, next_poll - time.monotonic()))
    return polled


def add(druid: Druid, arrivals: Arrivals, datasource: str) -> None:
    counts = druid.rows(
        f'SELECT TIMESTAMP_TO_MILLIS(__time) AS t, COUNT(*) AS n FROM "{datasource}"'
        f" WHERE __time >= MILLIS_TO_TIMESTAMP({arrivals.since()}) GROUP BY __time"
    )
    arrivals.add(now(), {row["t"]: row["n"] for row in counts})


def latencies(load: Load, polled: Polled) -> dict[str, Row]:
    """The percentiles; raises Wrong where the polls have not seen each reading once."""
    start, end, window = polled.start, polled.end, load.window * 1000
    found = raw_latencies(polled.raw.arrived, end)
    there = Druid().number(
        f'SELECT COUNT(*) AS n FROM "{RAW}"'
        f" WHERE __time >= MILLIS_TO_TIMESTAMP({start}) AND __time < MILLIS_TO_TIMESTAMP({end})"
    )
    if there != (seen := sum(rows for _, rows in found)) or not seen:
        raise Wrong(f"the polls saw {seen} readings, and there are {there}")
    starts = window_starts(start, end, window, WATERMARK * 1000)
    by_clock, by_reading = window_latencies(
        polled.windows.arrived, starts, window + WATERMARK * 1000, polled.raw.times()
    )
    if (rows := sum(number for _, number in by_clock)) != len(starts) * load.vehicles:
        raise Wrong(f"the polls saw {rows} rows of {len(starts)} windows with {load.vehicles} vehicles each")
    queries = percentiles(polled.queries)
    return {
        "raw": percentiles(found) | {"query p50 ms": queries["p50 ms"], "query p99 ms": queries["p99 ms"]},
        "aggregated, from window end + watermark": {"windows": len(starts), **percentiles(by_clock)},
        "aggregated, from the reading that closes it": {"windows": len(starts), **percentiles(by_reading)},
    }


def sustained() -> list[Row]:
    """The rungs of the ladder up to the first that doesn't hold."""
    rows: list[Row] = []
    with live_stack() as stack:
        stack.up(NUM_ENTITIES=str(SUSTAINED_VEHICLES), WATERMARK_DURATION=f"{WATERMARK} seconds")
        for wanted in RUNGS:
            rows.append(rung(stack, wanted))
            if rows[-1]["why not"]:
                break
        # Before the books: they read all records, and would have to do it again.
        stack.stop_generator()
        pause(CLOSING, "until the last windows are closed")
    return rows


def rung(stack: LiveStack, wanted: int) -> Row:
    """One rate, with all parts on: whether the lags stay bounded, and what each part uses."""
    say(f"sustained: {wanted:,} records/s")
    # A little more than is wanted, or what the generator can.
    stack.up(NUM_ENTITIES=str(SUSTAINED_VEHICLES), SENSOR_INTERVAL=f"{SUSTAINED_VEHICLES / wanted / 1.05:.5f}")
    pause(SETTLE, "settling")
    samples: list[Sample] = []
    first, start, before = raw_offsets()[1], time.monotonic(), stack.cpu()
    used, used_at, highest = before, start, dict[str, float]()
    while (at := time.monotonic() - start) < SUSTAINED:
        time.sleep(SAMPLE - at % SAMPLE)
        try:
            # The rows before the offsets: the lag is that or less.
            rows = Druid().number(f'SELECT COUNT(*) AS n FROM "{RAW}"')
            lag, end = stack.lag(), raw_offsets()[1]
        except (OSError, Unhealthy) as error:
            say(f"no answer: {error}")
            continue
        sampled = time.monotonic()
        samples.append(Sample(sampled - start, lag, end - rows))
        after = stack.cpu()
        busy = cores(used, after, sampled - used_at)
        used, used_at = after, sampled
        highest = {part: max(share, highest.get(part, 0)) for part, share in busy.items()}
        busiest = ", ".join(f"{part} {busy[part]:.2f}" for part in sorted(busy, key=lambda part: -busy[part])[:5])
        say(
            f"{sampled - start:3.0f} s  {end - first:,} sent ({(end - first) / (sampled - start):,.0f}/s),"
            f" behind: windows job {lag:,}, Druid {end - rows:,}; cores: {busiest}"
        )
        if behind(wanted, samples[-1:]):
            break
    seconds = time.monotonic() - start
    rate = (raw_offsets()[1] - first) / seconds
    mean = cores(before, stack.cpu(), seconds)
    reasons = why_not(wanted, rate, samples, SUSTAINED)
    say(f"{wanted:,} records/s: {'; '.join(reasons) or 'sustained'}")
    return {
        "wanted records/s": wanted,
        "records/s": round(rate),
        "seconds": round(seconds),
        "why not": reasons,
        "lag, records": {
            name: {"second fifth": rounded(second), "last fifth": rounded(last)}
            for name, (second, last) in lags(samples, SUSTAINED).items()
        },
        "highest lag, records": highest_lags(samples),
        "cores": {part: round(share, 3) for part, share in mean.items()},
        "cores, highest of a sample": {part: round(share, 3) for part, share in highest.items()},
        "cores, all together": round(sum(mean.values()), 3),
    }


def rounded(lag: list[int]) -> int | None:
    """The median; None where nothing was heard."""
    return round(median(lag)) if lag else None
