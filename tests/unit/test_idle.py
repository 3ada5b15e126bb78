"""The marker that closes the last windows: literal times in, the exact marker out."""

from typing import Any

import pytest
from windows_job import idle

# Windows of a minute and a watermark three minutes behind, which moves minute by minute. The last reading is of
# 10:00:20, in milliseconds, so the watermark has reached 9:57:00, and the reading's window ends at 10:01:00.
MINUTE = 60_000
HOUR = 10 * 60 * MINUTE
REACHED = HOUR - 3 * MINUTE
CLOSED = HOUR + MINUTE
LONG_AFTER = HOUR + 30 * MINUTE
END, EARLIER_END = {"0": 120, "1": 80}, {"0": 100, "1": 80}
SENT = {"closes": END, "watermark": CLOSED}


def marker(
    reached: int = REACHED, last: dict[str, Any] | None = None, now: int = LONG_AFTER, emitted: int = REACHED
) -> dict[str, Any] | None:
    token = {"window_seconds": 60, "watermark_seconds": 180, "watermark": emitted}
    return idle.marker(token, END, reached, last, now)


def test_before_the_first_reading_there_is_nothing_to_close() -> None:
    assert marker(reached=0, emitted=0) is None


def test_the_first_idle_period_closes_the_window_of_the_last_reading() -> None:
    assert marker() == SENT


@pytest.mark.parametrize("emitted", [CLOSED, CLOSED + 1])
def test_an_idle_period_has_one_marker(emitted: int) -> None:
    assert marker(reached=CLOSED, last=SENT, emitted=emitted) is None


def test_after_a_crash_between_a_marker_and_its_windows_the_same_marker_is_sent_again() -> None:
    # The windows of the last token are those up to the watermark before the marker, whatever the next batch's is.
    assert marker(last=SENT, emitted=CLOSED - 1) == SENT
    assert marker(reached=CLOSED, last=SENT, emitted=REACHED, now=LONG_AFTER + MINUTE) == SENT


def test_an_idle_period_after_new_readings_has_a_new_marker() -> None:
    before = {"closes": EARLIER_END, "watermark": CLOSED - 10 * MINUTE}
    assert marker(last=before) == SENT
    # also when the marker before had put the watermark where no reading has brought it since
    assert marker(reached=CLOSED, last=before | {"watermark": CLOSED}, emitted=CLOSED) == {
        "closes": END,
        "watermark": CLOSED + 4 * MINUTE,
    }


@pytest.mark.parametrize(
    ("now", "watermark"),
    [
        (CLOSED + 3 * MINUTE + 1, CLOSED),
        (CLOSED + 3 * MINUTE, CLOSED),
        (CLOSED + 3 * MINUTE - 1, CLOSED - MINUTE),
        (HOUR + 20_000, REACHED),
    ],
)
def test_the_watermark_moves_no_further_than_a_reading_of_now_would_move_it(now: int, watermark: int) -> None:
    assert marker(now=now) == {"closes": END, "watermark": watermark}


def test_the_topic_is_idle_when_its_offsets_have_been_the_same_for_the_timeout() -> None:
    timer = idle.IdleTimer(timeout=10)
    assert not timer.is_idle(EARLIER_END, now=100)
    assert not timer.is_idle(EARLIER_END, now=109.9)
    assert timer.is_idle(EARLIER_END, now=110)
    assert timer.is_idle(EARLIER_END, now=200)
    assert not timer.is_idle(END, now=201)  # a new reading
    assert not timer.is_idle(END, now=210.9)
    assert timer.is_idle(END, now=211)


def test_after_a_restart_the_timer_waits_for_the_whole_timeout() -> None:
    timer = idle.IdleTimer(timeout=10)
    timer.is_idle(END, now=100)
    assert timer.is_idle(END, now=110)
    timer.restart(now=110)
    assert not timer.is_idle(END, now=119.9)
    assert timer.is_idle(END, now=120)
