"""The verdict on Druid's rows beside Kafka's."""

from dataclasses import replace

import pytest
from ledger_records import RECORDS, REJECTED, TOKENS, WINDOWS, close, judged

OPEN = "The ledger does not close"


@pytest.mark.parametrize(
    ("changes", "expected", "words"),
    [
        ({}, 0, "The ledger closes"),
        ({"readings": 3}, 3, "Still under way: Druid has 2 rows left to read; WAIT=60 waits for them."),
        ({"windows": 1, "readings_in_windows": 1}, 3, "Still under way: Druid has 1 row left to read"),
        (
            {"readings": 0, "recent_readings": 0, "windows": 0, "readings_in_windows": 0, "rejected": 0},
            3,
            "Still under way: Druid has 10 rows left",
        ),
        ({"readings": 6}, 1, f"{OPEN}: 1 more reading in Druid than in Kafka; see it with: SELECT"),
        ({"readings": 6, "windows": 0}, 1, f"{OPEN}: 1 more reading"),
        ({"recent_readings": 3}, 1, f"{OPEN}: 1 more reading"),  # and 1 fewer before the watermark
        ({"late": 1}, 1, f"{OPEN}: 1 more late reading in Druid than in Kafka; see it with: SELECT"),
        ({"rejected": 5}, 1, f"{OPEN}: 2 more rejected records in Druid"),
        (
            {"windows": 3, "readings_in_windows": 5, "duplicate_windows": 1},
            1,
            f"{OPEN}: 1 more window in Druid than in Kafka, 1 more duplicate window in Druid than in Kafka;",
        ),
        ({"readings_in_windows": 2}, 1, f"{OPEN}: 1 fewer reading in Druid's windows than in Kafka's; see it with"),
        ({"windows": 1, "readings_in_windows": 4}, 1, f"{OPEN}: 1 more reading in Druid's windows"),
    ],
)
def test_rows_that_druid_lacks_are_under_way_and_rows_that_kafka_lacks_are_wrong(
    changes: dict[str, int], expected: int, words: str
) -> None:
    found = close(TOKENS, RECORDS, WINDOWS, REJECTED)
    code, sentence = judged(found, replace(found.kafka, **changes))
    assert code == expected
    assert sentence.startswith(words)
