"""The parts of a run with a history: the generator that sends it must have all vehicles."""

from typing import Any

import pytest
from generator import main
from generator.fleet import WHOLE, Share
from generator.main import Part
from generator.run import Report
from generator.settings import Settings
from generator.stop import Stop
from generator_run import Clock, settings
from kafka_client.properties import Properties


class Member:
    """Stands in for the one of the group."""

    def is_over(self) -> bool:
        return True

    def give_back(self) -> None:
        pass


Sent = list[tuple[str, float]]  # of each part the history and the duration


def run(
    monkeypatch: pytest.MonkeyPatch, parts: list[Part], reports: list[tuple[float, Report]]
) -> tuple[Report, str | None, Sent]:
    """A run whose parts take the seconds and end with the reports given."""
    clock, sent = Clock(), Sent()
    monkeypatch.setattr(main, "time", clock)
    following = iter([*parts[1:], None])
    monkeypatch.setattr(main, "_next_part", lambda *_: next(following))

    def send(given: Settings, *_: Any) -> tuple[Report, list[int]]:
        seconds, report = reports[len(sent)]
        sent.append((given.history, given.script_duration))
        clock.sleep(seconds)
        return report, []

    monkeypatch.setattr(main, "_send", send)
    given = settings(history="30 days", script_duration=900, kafka_client_properties=Properties())
    end, problem = main._send_parts(given, Member(), parts[0], Stop(), lambda _report: None)  # type: ignore[arg-type]
    return end, problem, sent


def part(share: Share = WHOLE) -> Part:
    return Part(share, {}, None)  # type: ignore[arg-type]


def test_one_of_several_generators_sends_no_history(monkeypatch: pytest.MonkeyPatch) -> None:
    end, problem, sent = run(monkeypatch, [part(Share(0, 2))], [])
    assert problem == (
        "2 generators share the vehicles: one alone sends a history. Stop the others, or unset HISTORY (or history)."
    )
    assert (end, sent) == (Report(), [])


def test_the_duration_begins_after_the_history(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [part(), part(Share(1, 2))]
    reports = [(400, Report(20, 100, 5000, 5000)), (800, Report(160, 800, 800, 800))]
    end, problem, sent = run(monkeypatch, parts, reports)
    assert sent == [("30 days", 900), ("", 800)]  # others may join now
    assert (end.sent, end.elapsed, problem) == (5800, 900, None)


def test_a_history_that_was_not_complete_goes_on_in_the_next_part(monkeypatch: pytest.MonkeyPatch) -> None:
    reports = [(400, Report(0, 0, 5000, 5000)), (1000, Report(180, 900, 9000, 9000))]
    end, _, sent = run(monkeypatch, [part(), part()], reports)
    assert sent == [("30 days", 900), ("30 days", 900)]
    assert end.elapsed == 900


def test_what_prevents_live_readings_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    reports = [(700, Report(0, 0, 5000, 5000, problem="The windows job has read nothing."))]
    end, problem, _ = run(monkeypatch, [part(), part()], reports)
    assert (end.sent, problem) == (5000, "The windows job has read nothing.")
