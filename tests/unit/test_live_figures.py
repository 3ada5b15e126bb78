"""The arithmetic of the benchmark's live cases: literal observations in, exact figures out."""

import live_figures
from repository import ROOT


def test_each_increase_of_a_count_is_an_arrival() -> None:
    seen = live_figures.Arrivals(expected=3, start=1000)
    seen.add(1010.0, {})
    seen.add(1040.5, {1005: 2})
    seen.add(1070.0, {1005: 3})  # the one of the other partition
    seen.add(1100.0, {1005: 3})
    assert seen.arrived == [(1005, 1040.5, 2), (1005, 1070.0, 1)]
    assert seen.times() == [1005]


def test_rows_that_vanish_and_come_back_arrive_once() -> None:
    seen = live_figures.Arrivals(expected=3, start=1000)
    seen.add(1040.0, {1005: 3})
    seen.add(1070.0, {1005: 1})
    seen.add(1100.0, {1005: 3})
    assert seen.arrived == [(1005, 1040.0, 3)]


def test_a_poll_asks_from_the_oldest_incomplete_time_on() -> None:
    seen = live_figures.Arrivals(expected=2, start=1000)
    assert seen.since() == 1000
    seen.add(1100.0, {1010: 1, 1020: 1})
    assert seen.since() == 1010
    seen.add(1200.0, {1010: 2, 1020: 2})
    assert seen.since() == 1020


def test_an_end_is_passed_when_all_before_it_is_complete_and_a_later_time_was_seen() -> None:
    seen = live_figures.Arrivals(expected=2, start=1000)
    assert not seen.passed(1015)
    seen.add(1100.0, {1010: 2})
    assert not seen.passed(1015)
    seen.add(1200.0, {1015: 1})
    assert seen.passed(1015)
    assert not seen.passed(1016)
    assert seen.complete([1010])
    assert not seen.complete([1010, 1015])


def test_latencies_of_readings_before_the_end() -> None:
    arrived = [(1005, 1040.5, 2), (1005, 1070.0, 1), (2000, 2030.0, 3)]
    assert live_figures.raw_latencies(arrived, end=2000) == [(35.5, 2), (65.0, 1)]


def test_windows_that_the_watermark_closes_in_a_period() -> None:
    # A window of 10 s from 60,000 on is closed at 100,000 by a watermark of 30 s.
    assert list(live_figures.window_starts(100_000, 120_000, 10_000, 30_000)) == [60_000, 70_000]
    assert list(live_figures.window_starts(100_001, 120_001, 10_000, 30_000)) == [70_000, 80_000]


def test_latencies_of_windows_by_the_clock_and_from_the_reading_that_closes_them() -> None:
    arrived = [(50_000, 91_000.0, 5), (60_000, 103_500.0, 2), (60_000, 104_000.0, 1), (70_000, 110_800.0, 3)]
    readings = [98_000, 103_000, 110_000]
    by_clock, by_reading = live_figures.window_latencies(arrived, range(60_000, 80_000, 10_000), 40_000, readings)
    assert by_clock == [(3500.0, 2), (4000.0, 1), (800.0, 3)]
    assert by_reading == [(500.0, 2), (1000.0, 1), (800.0, 3)]


def test_percentiles_are_over_rows_by_nearest_rank() -> None:
    assert live_figures.percentiles([(30.0, 50), (10.0, 48), (90.04, 1), (200.0, 1)]) == {
        "rows": 100, "p50 ms": 30.0, "p95 ms": 30.0, "p99 ms": 90.0, "max ms": 200.0,
    }  # fmt: skip
    assert live_figures.percentiles([(7.0, 1)]) == {"rows": 1, "p50 ms": 7, "p95 ms": 7, "p99 ms": 7, "max ms": 7}


def samples(job: list[int], druid: list[int]) -> list[live_figures.Sample]:
    """One every 30 of 300 seconds."""
    return [live_figures.Sample(30.0 * number + 1, *lags) for number, lags in enumerate(zip(job, druid, strict=True))]


def test_a_rate_is_sustained_while_the_lags_are_bounded_and_do_not_grow() -> None:
    steady = samples([0, 0, 5000, 7000, 6000, 6000, 6000, 6000, 7000, 6000], [0] * 10)
    assert live_figures.why_not(5000, 4900, steady, 300) == []
    assert live_figures.lags(steady, 300) == {"windows job": [[5000, 7000], [7000, 6000]], "Druid": [[0, 0], [0, 0]]}


def test_the_reasons_why_a_rate_is_not_sustained() -> None:
    growing = samples([0, 0, 1000, 1000, 0, 0, 0, 0, 12_000, 14_000], [0] * 10)
    assert live_figures.why_not(5000, 4800, growing, 300) == [
        "the generator reached 4,800 records/s",
        "windows job: its lag grew from 1,000 to 13,000 records",
    ]
    far = samples([0] * 4, [0, 0, 0, 51_000])
    assert live_figures.why_not(5000, 5000, far, 300) == ["Druid: 51,000 records behind"]
    assert live_figures.why_not(5000, 5000, growing[:5], 300) == [
        "windows job: no lag was measured",
        "Druid: no lag was measured",
    ]


def test_the_readmes_queries_are_named_by_the_sentence_before_each() -> None:
    page = """text

```sh
make
```

Paste each query. All rows,
line by line:

```sql
SELECT *
FROM a
```

Doubles (no row means none):

```sql
SELECT 1
```
more
"""
    assert live_figures.readme_queries(page) == {
        "All rows, line by line": "SELECT *\nFROM a",
        "Doubles": "SELECT 1",
    }


def test_the_readme_has_three_queries() -> None:
    assert list(live_figures.readme_queries((ROOT / "README.md").read_text())) == [
        "How the fleet is doing, window by window",
        "The five warmest vehicles of the last ten minutes",
        "Lost or duplicate readings",
    ]
