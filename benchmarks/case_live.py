"""Cases freshness and sustained: the whole stack under load, with all parts on one machine."""

import time
from statistics import median
from typing import NamedTuple

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
from local_stack.errors import Unhealthy
from measure import WrongResult


class Load(NamedTuple):
    """What the generator sends; it must reach `rate` (records/s) at least."""

    name: str
    vehicles: int
    interval: float  # seconds
    rate: float
    window: int  # seconds


# The default load is that of live_stack.SETTINGS. Of windows of a minute it would make few.
LOADS = [Load("the default load", 200, 5, 39, 10), Load("5,000 records/s", 1000, 0.19, 5000, 60)]
WATERMARK = 30  # seconds; three minutes would only make the cases longer
WARM_UP, QUIET, POLLED = 60, 120, 180  # seconds
POLL, POLL_WINDOWS = 0.025, 0.1  # seconds from one poll to the next
TAIL = 60  # seconds to wait for the last rows

RATES = [30_000, 60_000, 90_000]  # records/s
# At every rate: for new vehicles the generator would search the whole topic for their last seq.
SUSTAINED_VEHICLES = 1000
SUSTAINED = 300  # seconds
SUSTAINED_WINDOW = 60  # seconds
SETTLE = 20  # seconds
CLOSING = SUSTAINED_WINDOW + WATERMARK + 20  # seconds without readings, after which all windows are closed
SAMPLE = 5  # seconds from one to the next


class Polled(NamedTuple):
    """The arrivals of readings and of windows, and the latencies of the queries; times in milliseconds."""

    start: int
    end: int
    raw: Arrivals
    windows: Arrivals
    queries: Latencies


def freshness() -> list[Row]:
    """The latency of a reading and of a window until each can be queried; at the default load, what the parts use.

    A latency ends with the answer that holds the row: it includes the query, and the wait for the next poll.
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
        poll(stack, load, WARM_UP)
        rows = use(stack, load) if load is LOADS[0] else []
        before, start = stack.readings(), time.monotonic()
        polled = poll(stack, load, POLLED)
        rate = (stack.readings() - before) / (time.monotonic() - start)
        if rate < load.rate:
            raise WrongResult(f"the generator sent only {rate:,.0f} records/s, and {load.rate:,} are needed")
        common = {
            "load": load.name, "vehicles": load.vehicles, "records/s": round(rate, 1), "window s": load.window,
            "watermark s": WATERMARK, "seconds": POLLED, "poll ms": POLL * 1000,
        }  # fmt: skip
        found = [{"measured": what, **common, **row} for what, row in latencies(stack, load, polled).items()]
        say("; ".join(f"{row['measured']}: p50 {row['p50 ms']} ms, p99 {row['p99 ms']} ms" for row in found))
    return found + rows


def use(stack: LiveStack, load: Load) -> list[Row]:
    """CPU and memory of each part without queries."""
    before, start = stack.cpu(), time.monotonic()
    pause(QUIET, "CPU and memory, without polls")
    seconds = time.monotonic() - start
    busy, held = cores(before, stack.cpu(), seconds), stack.memory()
    rows = [{"part": part, "cores": round(busy[part], 3), "MiB": held[part]} for part in busy]
    total = {"part": "all together", "cores": round(sum(busy.values()), 3), "MiB": sum(held.values())}
    return [{"measured": "use", "load": load.name, "seconds": round(seconds), **row} for row in [*rows, total]]


def poll(stack: LiveStack, load: Load, seconds: float) -> Polled:
    """Ask Druid again and again for what is new, for `seconds` and until all rows of this time have come."""
    druid, window, delay = stack.druid(), load.window * 1000, (load.window + WATERMARK) * 1000
    start = int(now())
    end = start + round(seconds * 1000)
    raw, windows = Arrivals(load.vehicles, start), Arrivals(load.vehicles, start - delay)
    polled = Polled(start, end, raw, windows, [])
    wanted = window_starts(start, end, window, WATERMARK * 1000)
    next_poll = next_windows = next_line = time.monotonic()
    while not (raw.passed(end) and windows.complete(wanted)):
        asked = now()
        if asked > end + TAIL * 1000:
            raise WrongResult(f"not all rows of {load.name} were queryable {TAIL} s after the end")
        add(druid, raw, stack.raw)
        polled.queries.append((now() - asked, 1))
        if time.monotonic() >= next_windows:
            next_windows += POLL_WINDOWS
            add(druid, windows, stack.aggregated)
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


def latencies(stack: LiveStack, load: Load, polled: Polled) -> dict[str, Row]:
    """The percentiles. Raises WrongResult unless the polls have seen each row once."""
    start, end, window = polled.start, polled.end, load.window * 1000
    found = raw_latencies(polled.raw.arrived, end)
    there = stack.druid().number(
        f'SELECT COUNT(*) AS n FROM "{stack.raw}"'
        f" WHERE __time >= MILLIS_TO_TIMESTAMP({start}) AND __time < MILLIS_TO_TIMESTAMP({end})"
    )
    if there != (seen := sum(rows for _, rows in found)) or not seen:
        raise WrongResult(f"the polls saw {seen} readings, and there are {there}")
    starts = window_starts(start, end, window, WATERMARK * 1000)
    by_clock, by_reading = window_latencies(
        polled.windows.arrived, starts, window + WATERMARK * 1000, polled.raw.times()
    )
    if (rows := sum(number for _, number in by_clock)) != len(starts) * load.vehicles:
        raise WrongResult(f"the polls saw {rows} rows of {len(starts)} windows with {load.vehicles} vehicles each")
    queries = percentiles(polled.queries)
    return {
        "raw": percentiles(found) | {"query p50 ms": queries["p50 ms"], "query p99 ms": queries["p99 ms"]},
        "aggregated, from window end + watermark": {"windows": len(starts), **percentiles(by_clock)},
        "aggregated, from the reading that closes it": {"windows": len(starts), **percentiles(by_reading)},
    }


def sustained() -> list[Row]:
    """One rate after the other, up to the first that doesn't hold."""
    rows: list[Row] = []
    with live_stack() as stack:
        stack.up(
            NUM_ENTITIES=str(SUSTAINED_VEHICLES),
            WINDOW_DURATION=f"{SUSTAINED_WINDOW} seconds",
            WATERMARK_DURATION=f"{WATERMARK} seconds",
        )
        for wanted in RATES:
            rows.append(at_rate(stack, wanted))
            if rows[-1]["why not"]:
                break
        # Before the ledger reads all records: it would have to read them again.
        stack.stop_generator()
        pause(CLOSING, "until the last windows are closed")
    return rows


def at_rate(stack: LiveStack, wanted: int) -> Row:
    """Whether the lags stay bounded at a rate (records/s), and what each part uses."""
    say(f"sustained: {wanted:,} records/s")
    # A little more than wanted, or as much as the generator can send.
    stack.up(SENSOR_INTERVAL=f"{SUSTAINED_VEHICLES / wanted / 1.05:.5f}")
    pause(SETTLE, "settling")
    samples: list[Sample] = []
    first, start, before = stack.readings(), time.monotonic(), stack.cpu()
    used, used_at, highest = before, start, dict[str, float]()
    while (at := time.monotonic() - start) < SUSTAINED:
        time.sleep(SAMPLE - at % SAMPLE)
        try:
            # The rows before the offsets: so the real lag is not larger.
            rows = stack.druid().number(f'SELECT COUNT(*) AS n FROM "{stack.raw}"')
            lag, end = stack.job_lag(), stack.readings()
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
    rate = (stack.readings() - first) / seconds
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
    """The median; None without samples."""
    return round(median(lag)) if lag else None
