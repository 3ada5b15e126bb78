"""The arithmetic of docs/scaling.md: literal costs in, exact sizes out."""

from scaling_tables import scaling, sizing
from sizing import COPIES, DRUID, GENERATOR_ON_CLUSTER, JOB, JOB_ON_CLUSTER, Measured, measured, size
from table_text import short

COST = Measured(stored_bytes=40, brokers=6, job=8, driver=12, task=100_000, segment_bytes=20, ledger=15)


def test_a_fleet_of_the_default_size() -> None:
    found = size(200, COST)
    assert (found.readings, found.bytes_in) == (40, 1600)
    assert (found.partitions, found.spark_cores, found.tasks, found.segments) == (2, 1, 1, 1)
    assert found.open_windows == 800
    assert found.disk == 40 * 40 * 604_800 * 3
    assert found.partition_bytes == 40 * 40 * 604_800 / 2
    assert found.heap == 768 * 2**20 + 1000 * 400


def test_a_fleet_of_millions() -> None:
    found = size(10_000_000, COST)
    assert found.readings == 2_000_000
    assert found.spark_cores == 32  # twice 2 million readings a second of 8 microseconds
    assert found.tasks == 40
    assert found.partitions == 42  # the next multiple of three
    assert found.broker_cores == 24
    assert found.driver_cores == 2  # 10 million windows a minute of 12 microseconds
    assert found.ledger_cores == 30
    assert found.segment_bytes == 2_000_000 * 86_400 * 20
    assert found.segments == 34_560


def test_costs_come_from_the_rows_of_their_parts() -> None:
    assert measured(RESULTS) == Measured(
        stored_bytes=40, brokers=3 + 2 * 1.5, job=8, driver=12, task=100_000, segment_bytes=20, ledger=15
    )


def test_a_small_figure_has_two_digits() -> None:
    assert [short(value) for value in (0.0016, 0.018, 0.5, 9.96, 1234.5)] == ["< 0.01", "0.018", "0.5", "10", "1,234"]


def test_the_first_row_of_a_part_is_its_measure() -> None:
    lines = scaling(RESULTS["scaling"]).splitlines()
    assert lines[0] == "windows job"
    assert lines[4] == "| base | 100,000 | 8.0 | 7.0 to 9.0 | x 1.00 | x 1.00 | 2.0 | x 1.00 |"
    assert lines[5] == "| SASL_SSL | 50,000 | 12.0 | 11.0 to 13.0 | x 0.50 | x 1.50 | 3.0 | x 1.50 |"
    assert "| two tasks | 150,000 | 10.0 | 10.0 to 10.0 | x 1.50 | x 1.00 |" in lines


def test_the_sizes_follow_the_results() -> None:
    lines = sizing(RESULTS).splitlines()
    assert "| 10,000,000 | 2,000,000 | 80 | 42 | 24 | 145,152 | 1,152 |" in lines
    assert "| 10,000,000 | 40,000,000 | 32 | 19 | 2 | 30 |" in lines
    assert "| 10,000,000 | 40 | 3,456 | 34,560 |" in lines


def row(part: str, contender: str, rate: float, cpu: float, spread: float = 0, **more: float) -> dict[str, object]:
    common = {"part": part, "contender": contender, "records/s": rate, "CPU s/M": cpu}
    return {**common, "CPU s/M, lowest and highest": [cpu - spread, cpu + spread], **more}


OF_JOB = {"bytes per reading": 40.0, "driver's CPU s per million windows": 12.0}
RESULTS = {
    "scaling": {
        "rounds": 2,
        "date": "2026-11-27",
        "machine": {"cores": 2, "cpu": "CPU", "memory GiB": 24},
        "versions": {"kafka": "4.3.1"},
        "rows": [
            row(JOB, "base", 100_000, 8, 1, **{"brokers' CPU s/M": 2, **OF_JOB}),
            row(JOB, "SASL_SSL", 50_000, 12, 1, **{"brokers' CPU s/M": 3, **OF_JOB}),
            row(JOB_ON_CLUSTER, "one copy", 100_000, 8, **{"brokers' CPU s/M": 1, **OF_JOB}),
            row(JOB_ON_CLUSTER, COPIES, 100_000, 8, **{"brokers' CPU s/M": 1.5, **OF_JOB}),
            row(GENERATOR_ON_CLUSTER, "one copy", 200_000, 4, **{"brokers' CPU s/M": 1}),
            row(GENERATOR_ON_CLUSTER, COPIES, 200_000, 4, **{"brokers' CPU s/M": 3}),
            row(DRUID, "one task", 100_000, 10, **{"bytes per reading": 20}),
            row(DRUID, "two tasks", 150_000, 10, **{"bytes per reading": 20}),
        ],
    },
    "ledger": {"rows": [{"readings": 1, "CPU s/M": 20.0}, {"readings": 20, "CPU s/M": 15.0}]},
}
