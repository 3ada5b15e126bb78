"""The seqs of the vehicles: duplicates, gaps, and readings out of order."""

import json
from typing import Any

import pytest
from ledger_records import HUGE, close, judged, reading, token, window


@pytest.mark.parametrize(
    ("seqs", "duplicates", "gaps", "out_of_order"),
    [
        ([1, 2, 3], 0, 0, 0),
        ([700, 701, 702], 0, 0, 0),  # its first was not 1
        ([1, 2, 2, 3, 1, 3], 3, 0, 0),
        ([1, 3, 6], 0, 3, 0),
        ([1, 3, 2, 4], 0, 0, 1),
        ([3, 2, 1, 1], 1, 0, 2),
        ([255, 256, 511, 512], 0, 254, 0),
        ([-1, 1, 0, -1], 1, 0, 1),
        ([1, HUGE, 2], 0, HUGE - 3, 1),
        ([-HUGE - 1, HUGE, HUGE], 1, 2**64 - 2, 0),
        ([1, "2", 2.0, None, True, 2], 0, 0, 0),  # only integers count as seqs
    ],
)
def test_seqs(seqs: list[Any], duplicates: int, gaps: int, out_of_order: int) -> None:
    tokens = [token([number], 0) for number in range(1, len(seqs) + 1)]
    found = close(tokens, [reading(1, seq=seq) for seq in seqs])
    assert (found.duplicates, found.gaps, found.out_of_order) == (duplicates, gaps, out_of_order)
    assert judged(found)[0] == 0  # the vehicles sent the readings this way


def test_each_vehicle_has_its_own_seqs_and_many_scattered_ones_cost_little() -> None:
    found = close([token([4], 0)], [reading(1, 1, 5), reading(1, 2, 5), reading(1, 1, 6), reading(1, 2, 7)])
    assert (found.duplicates, found.gaps, found.out_of_order) == (0, 1, 0)
    scattered = [reading(1, seq=(n * 2**40 + n) % 2**63) for n in range(20_000)]
    found = close([token([len(scattered)], 0)], scattered)
    assert found.duplicates == 0
    assert found.gaps == max(json.loads(value)["seq"] for value in scattered) + 1 - 20_000


def test_a_late_reading_is_never_out_of_order_but_may_be_a_duplicate() -> None:
    tokens = [token([3], 0), token([6], 10, late=2)]
    raw: list[bytes | None] = [reading(1, seq=1), reading(2, seq=4), reading(3, seq=5)]
    raw += [reading(4, seq=2), reading(1, seq=1), reading(11, seq=3)]
    found = close(tokens, raw, [window(0, 3)])
    assert (found.late.total(), found.duplicates, found.gaps, found.out_of_order) == (2, 1, 0, 1)
