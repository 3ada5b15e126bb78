"""When the last windows are closed, and up to where: literal times in, the watermark to reach out."""

import pytest
from windows_job import idle

# Windows of a minute and a watermark three minutes behind. The newest reading is of 10:00:20, in milliseconds, so the
# watermark has reached 9:57:00, and the reading's window ends at 10:01:00.
MINUTE = 60_000
HOUR = 10 * 60 * MINUTE
NEWEST = HOUR + 20_000
REACHED = HOUR - 3 * MINUTE
CLOSED = HOUR + MINUTE
LONG_AFTER = HOUR + 30 * MINUTE


def target(newest: int = NEWEST, watermark: int = REACHED, now: int = LONG_AFTER) -> int | None:
    return idle.watermark_to_reach(newest, watermark, MINUTE, 3 * MINUTE, now)


def test_before_the_first_reading_there_is_nothing_to_close() -> None:
    assert target(newest=0, watermark=0) is None


def test_an_idle_period_closes_the_window_of_the_newest_reading() -> None:
    assert target() == CLOSED
    assert target(newest=HOUR) == CLOSED
    assert target(newest=CLOSED) == CLOSED + MINUTE  # the end of a window is the start of the next one


@pytest.mark.parametrize("watermark", [CLOSED, CLOSED + 1])
def test_closed_windows_are_not_closed_again(watermark: int) -> None:
    assert target(watermark=watermark) is None


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
    assert target(now=now) == watermark


def test_it_is_idle_when_nothing_has_happened_for_the_timeout() -> None:
    timer = idle.IdleTimer(timeout=10)
    assert not timer.is_idle(1, now=100)
    assert not timer.is_idle(1, now=109.9)
    assert timer.is_idle(1, now=110)
    assert timer.is_idle(1, now=200)
    assert not timer.is_idle(2, now=201)  # a batch with a reading on time
    assert not timer.is_idle(2, now=210.9)
    assert timer.is_idle(2, now=211)


def test_after_a_restart_the_timer_waits_for_the_whole_timeout() -> None:
    timer = idle.IdleTimer(timeout=10)
    timer.is_idle(1, now=100)
    assert timer.is_idle(1, now=110)
    timer.restart(now=110)
    assert not timer.is_idle(1, now=119.9)
    assert timer.is_idle(1, now=120)
