"""The times of a replay: the shift, the pace, and what the windows job would not take."""

import pytest
from generator.replay.errors import BadRecording
from generator.replay.times import check_not_ahead, check_not_late, due, shift

SECOND = 1_000_000
NOON = 1_782_907_200 * SECOND  # 2026-07-01T12:00:00Z


@pytest.mark.parametrize(("times", "first"), [("original", 0), ("ends now", NOON - 60), ("starts now", NOON)])
def test_all_times_are_shifted_alike(times: str, first: int) -> None:
    assert shift(times, first=0, last=60, now=NOON) == first


@pytest.mark.parametrize(
    ("first", "last", "speed", "ahead"),
    [
        (-3600, 10, 0, None),
        (-3600, 11, 0, "11"),
        (0, 3600, 1, None),  # "starts now", as recorded
        (10, 3610, 1, None),
        (11, 3611, 1, "11"),
        (0, 3600, 10, "3,240"),
        (0, 11, 10, None),  # 9.9 s
        (-3600, 0, 10, None),
    ],
)
def test_readings_more_than_10_s_ahead_when_they_are_sent_are_refused(
    first: int, last: int, speed: float, ahead: str | None
) -> None:
    def check() -> None:
        check_not_ahead(NOON + first * SECOND, NOON + last * SECOND, speed, NOON, 10)

    if ahead is None:
        check()
        return
    with pytest.raises(
        BadRecording, match=f"^The recording has times in the future: .* sent {ahead} s before that time, "
    ):
        check()


def test_readings_of_a_closed_window_are_refused() -> None:
    check_not_late(0, 0)  # there is no progress token
    check_not_late(NOON, NOON / SECOND)
    with pytest.raises(BadRecording) as raised:
        check_not_late(NOON - 1000, NOON / SECOND)
    assert str(raised.value) == (
        "The readings from 2026-07-01T11:59:59.999Z on would be late: the windows job has closed all windows that end"
        ' by 2026-07-01T12:00:00.000Z. Shift the times (REPLAY_TIMES="starts now" with REPLAY_SPEED=1), or remove the'
        " stack's data first (`make reset`)."
    )


def blocks() -> list[list[tuple[int, bytes, bytes]]]:
    seconds = [[0, 0, 1], [4, 4], [4, 9]]
    return [[(NOON + second * SECOND, b"k", b"%d" % second) for second in block] for block in seconds]


def test_as_fast_as_possible_each_block_goes_at_once() -> None:
    sent = list(due(blocks(), NOON, 0, elapsed=lambda: pytest.fail("no clock"), wait=lambda _: pytest.fail("no wait")))
    assert [[int(value) for _, value in each] for each in sent] == [[0, 0, 1], [4, 4], [4, 9]]


@pytest.mark.parametrize(("speed", "duration"), [(1, 9), (10, 0.9)])
def test_readings_are_sent_at_the_pace_of_the_recording(speed: float, duration: float) -> None:
    now, sent = 0.0, []

    def wait(seconds: float) -> None:
        nonlocal now
        assert 0 < seconds <= 0.2
        now += seconds

    for records in due(blocks(), NOON, speed, elapsed=lambda: now, wait=wait):
        sent += [(int(value), now) for _, value in records]
    assert [second for second, _ in sent] == [0, 0, 1, 4, 4, 4, 9]
    assert all(at == pytest.approx(second / speed, abs=1e-6) for second, at in sent)
    assert now == pytest.approx(duration)
