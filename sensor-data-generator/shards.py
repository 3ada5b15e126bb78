"""The fleet in several processes, each with its own share of the vehicles and its own producer, and one report of all.

One Python interpreter uses one core. Which vehicles are in which shard: fleet.py; how many shards: producer.py.
"""

import multiprocessing
import signal
import sys
from collections.abc import Callable, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

STOP_SIGNALS = signal.SIGTERM, signal.SIGINT


class Report(NamedTuple):
    """How far a run is, of one shard or of all."""

    iteration: int
    elapsed: float  # seconds since its start
    sent: int
    acknowledged: int
    failed: int
    answer_key: dict[str, Any] | None = None  # with faults: Faults.answer_key()
    last_error: str | None = None
    ended: bool = False  # the last word of a shard's process


def total(reports: Sequence[Report]) -> Report:
    """The sum of what the shards report; iteration and time are those of the shard that is furthest."""
    errors = [report.last_error for report in reports if report.last_error]
    return Report(
        max(report.iteration for report in reports),
        max(report.elapsed for report in reports),
        sum(report.sent for report in reports),
        sum(report.acknowledged for report in reports),
        sum(report.failed for report in reports),
        sum_of_keys([report.answer_key for report in reports if report.answer_key]),
        errors[-1] if errors else None,
    )


def sum_of_keys(keys: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The sum of answer keys, name by name; None if there is none."""
    if not keys:
        return None
    return {
        name: sum_of_keys([key[name] for key in keys]) if isinstance(value, dict) else sum(key[name] for key in keys)
        for name, value in keys[0].items()
    }


def run_shards(
    target: Callable[..., None],
    shards: Sequence[tuple[Any, ...]],
    stopping: Callable[[], bool],
    tell: Callable[[Report], None],
) -> tuple[Report, list[int]]:
    """Run target(connection, *shard) in a process for each shard; the last total, and which shards died (from 0).

    A shard sends a Report each time it has one, and one that says `ended` before it returns. `tell` gets the total each
    time all that still run have reported anew. Once `stopping` is true, every shard gets SIGTERM. What a shard that
    died had sent without an acknowledgement counts as failed.
    """
    processes = {}
    context = multiprocessing.get_context("spawn")
    resource_tracker.ensure_running()  # or the first start() would do it, and let the signals in behind our back
    # Started with these signals blocked, a process can't miss one before it is ready for it: see let_signals_in().
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    for shard in shards:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=target, args=(theirs, *shard), daemon=True)
        process.start()
        theirs.close()  # so that the shard's end is seen
        processes[ours] = process
    let_signals_in()

    latest = dict.fromkeys(processes, Report(0, 0, 0, 0, 0))
    running, reported, died = list(processes), set[Connection](), []
    stopped = False
    while running:
        if stopping() and not stopped:
            stopped = True
            for process in processes.values():
                process.terminate()
        for connection in wait(running, timeout=0.2):
            assert isinstance(connection, Connection)
            try:
                latest[connection] = connection.recv()
                if not latest[connection].ended:
                    reported.add(connection)
            except (EOFError, OSError):
                running.remove(connection)
                process = processes[connection]
                process.join()
                if not latest[connection].ended:
                    number = list(processes).index(connection)
                    died.append(number)
                    lost = latest[connection]
                    error = f"process {number + 1} of {len(shards)} died, exit code {process.exitcode}"
                    latest[connection] = lost._replace(failed=lost.sent - lost.acknowledged, last_error=error)
                    print(f"{error}; it had sent {lost.sent} records or more", file=sys.stderr, flush=True)
        if running and reported.issuperset(running):
            reported.clear()
            tell(total(list(latest.values())))
    return total(list(latest.values())), died


def let_signals_in() -> None:
    """Called in a shard's process as soon as it has handlers for SIGTERM and SIGINT."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
