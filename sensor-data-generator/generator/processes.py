"""Several processes, each with its share of the vehicles and its own producer, reported as one.

One Python interpreter uses one core. fleet.py decides which vehicles a process has, producer.py how many processes run.
"""

import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from threading import Thread
from typing import Any

from generator.run import Report, sum_of_counts
from generator.stop import STOP_SIGNALS

logger = logging.getLogger(__name__)


def total(reports: Sequence[Report]) -> Report:
    """The sum of the reports of all processes, with the iteration and the time of the one that is furthest."""
    errors = [report.last_error for report in reports if report.last_error]
    return Report(
        max(report.iteration for report in reports),
        max(report.elapsed for report in reports),
        sum(report.sent for report in reports),
        sum(report.acknowledged for report in reports),
        sum(report.failed for report in reports),
        sum_of_counts([report.injected for report in reports if report.injected]),
        errors[-1] if errors else None,
    )


def run_processes(
    target: Callable[..., None],
    arguments: Sequence[tuple[Any, ...]],
    stopping: Callable[[], bool],
    on_progress: Callable[[Report], None],
) -> tuple[Report, list[int]]:
    """Run target(connection, *each) in a process for each of `arguments`.

    A process sends a Report through its connection whenever it has one, and one that has `ended` before it returns.
    `on_progress` gets the total each time that all running processes have sent a new report. Once `stopping` is true,
    every process gets SIGTERM.

    Returns the final total and the numbers, from 0, of the processes that died. Records that these had sent and that
    were not acknowledged count as failed.
    """
    processes = {}
    context = multiprocessing.get_context("spawn")
    # Otherwise the first start() does this, and unblocks the signals.
    resource_tracker.ensure_running()
    # A process starts with these signals blocked, so that it misses none before it can handle them.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    for each in arguments:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=target, args=(theirs, *each), daemon=True)
        process.start()
        theirs.close()  # only then does `ours` notice when the process ends
        processes[ours] = process
    unblock_signals()

    latest = dict.fromkeys(processes, Report())
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
                    last = latest[connection]
                    error = f"process {number + 1} of {len(arguments)} died, exit code {process.exitcode}"
                    latest[connection] = last._replace(failed=last.sent - last.acknowledged, last_error=error)
                    logger.warning("%s; it had sent %d records or more", error, last.sent)
        if running and reported.issuperset(running):
            reported.clear()
            on_progress(total(list(latest.values())))
    return total(list(latest.values())), died


def unblock_signals() -> None:
    """To be called in each process as soon as it handles SIGTERM and SIGINT."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def end_with_the_main_process() -> None:
    """To be called in each process: if the main process is killed, its vehicles may be sent by others at once."""

    def watch() -> None:
        main = multiprocessing.parent_process()
        assert main
        main.join()
        os._exit(1)

    Thread(target=watch, daemon=True).start()
