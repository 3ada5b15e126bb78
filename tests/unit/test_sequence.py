"""The last seq of each vehicle: which records of the raw topic have one."""

import pytest
from generator.sequence import _entity_and_seq


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b'{"entity":7,"seq":3}', (7, 3)),
        (b'{"seq":3,"entity":7,"temp":"warm"}', (7, 3)),  # rejected, but the vehicle used this seq
        (b'{"entity":true,"seq":9223372036854775807}', None),
        (b'{"entity":" 7 ","seq":3}', None),
        (b'{"entity":7.0,"seq":3}', None),
        (b'{"entity":7,"seq":"3"}', None),
        (b'{"entity":7}', None),
        (b"[7, 3]", None),
        (b"not json", None),
        (b"[" * 100_000, None),
        (None, None),
    ],
)
def test_a_seq_counts_only_where_entity_and_seq_are_integers(
    value: bytes | None, found: tuple[int, int] | None
) -> None:
    assert _entity_and_seq(value) == found
