"""What the ledger reports: the table for people, the figures for programs, and where to look."""

from dataclasses import replace

import pytest
from ledger_records import HUGE, MINUTE, RECORDS, REJECTED, TOKENS, TOPICS, WINDOWS, close, reading, token
from reconciliation import report
from reconciliation.lookup import Lookup
from reconciliation.result import Run, Window


def test_the_table() -> None:
    tokens = [token([4], 0), token([8], 10), token([20], 10)]
    many: list[bytes | None] = [reading(n % 2, entity=n + 10, seq=n) for n in range(10)]
    strange = reading(3, "a\x1b[2J\nb", 1)
    found = close(tokens, [*RECORDS, *many, strange, reading(3, 10, HUGE)], WINDOWS, REJECTED)
    twelve = [Run(f"2026-01-{day:02}T00:00:00.000Z", "finished", 1000 + day, 1000, day) for day in range(1, 13)]
    assert (
        report.table(replace(found, runs=twelve), replace(found.kafka, readings=12_345))
        == """\
  records in the raw topic                        20
    in windows that are emitted                    3
    in windows still open                          2
    in windows removed by retention                0
    late                                          12
    rejected                                       3
    not yet read by the windows job                0
    in none of these                               0

                                   Kafka       Druid
  readings                            17      12,345
  windows                              2           2
  readings in windows                  3           3
  late                                 0           0
  rejected                             3           3
  windows that appear twice            0           0

  duplicates by (entity, seq)          0
  gaps in seq  9,223,372,036,854,775,806
  out of order                         0

                                    sent acknowledged
  all runs of the generator: 12   12,078      12,000
    2026-01-03T00:00:00 finished   1,003       1,000
    2026-01-04T00:00:00 finished   1,004       1,000
    2026-01-05T00:00:00 finished   1,005       1,000
    2026-01-06T00:00:00 finished   1,006       1,000
    2026-01-07T00:00:00 finished   1,007       1,000
    2026-01-08T00:00:00 finished   1,008       1,000
    2026-01-09T00:00:00 finished   1,009       1,000
    2026-01-10T00:00:00 finished   1,010       1,000
    2026-01-11T00:00:00 finished   1,011       1,000
    2026-01-12T00:00:00 finished   1,012       1,000
    ... and 2 older

  rejected, by reason
    no JSON                                        2
    no value                                       1

  late, by window and vehicle
    2026-01-01 00:00:00 vehicle 10                 2
    2026-01-01 00:00:00 vehicle 11                 1
    2026-01-01 00:00:00 vehicle 12                 1
    2026-01-01 00:00:00 vehicle 13                 1
    2026-01-01 00:00:00 vehicle 14                 1
    2026-01-01 00:00:00 vehicle 15                 1
    2026-01-01 00:00:00 vehicle 16                 1
    2026-01-01 00:00:00 vehicle 17                 1
    2026-01-01 00:00:00 vehicle 18                 1
    2026-01-01 00:00:00 vehicle 19                 1
    ... and 1 more"""
    )


def test_a_vehicles_control_characters_are_not_sent_to_the_terminal() -> None:
    found = close([token([0], 10), token([1], 10)], [reading(3, "a\x1b[2J\nb")])
    assert report.table(found, found.kafka).splitlines()[-1] == (
        r"    2026-01-01 00:00:00 vehicle 'a\x1b[2J\nb'      1"
    )


def test_the_figures_for_programs() -> None:
    found = close(TOKENS, RECORDS, WINDOWS, REJECTED, removed={"rejected": 7})
    found = replace(found, runs=[Run("2026-01-01T00:00:00.000Z", "finished", 8, 7, 1)], held_back=4)
    kafka = {
        "readings": 5,
        "recent_readings": 2,
        "windows": 2,
        "readings_in_windows": 3,
        "late": 0,
        "rejected": 3,
        "duplicate_windows": 0,
    }
    run = {"started_at": "2026-01-01T00:00:00.000Z", "state": "finished", "sent": 8, "acknowledged": 7, "failed": 1}
    assert report.figures(found, replace(found.kafka, readings=4)) == {
        "records": 8,
        "in_windows": 3,
        "in_removed_windows": 0,
        "in_open_windows": 2,
        "late": 0,
        "rejected": 3,
        "unread": 0,
        "in_none": 0,
        "held_back": 4,
        "verified_before": 0,
        "removed": {"rejected": 7},
        "runs": [run],
        "acknowledged": 7,
        "kafka": kafka,
        "druid": kafka | {"readings": 4},
        "duplicates": 0,
        "gaps": 0,
        "out_of_order": 0,
        "rejected_by_reason": {"no JSON": 2, "no value": 1},
    }


@pytest.mark.parametrize(
    ("entity", "literal"),
    [("1", "'1'"), ("o'hara", "'o''hara'"), ("é'\\", r"U&'\00e9\0027\005c'"), ("😀", r"U&'\d83d\de00'")],
)
def test_a_vehicle_is_quoted_for_sql(entity: str, literal: str) -> None:
    lookup = Lookup(TOPICS)
    assert f"entity = {literal}" in lookup.window(Window(MINUTE, MINUTE + 10_000, entity))
