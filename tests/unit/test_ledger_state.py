"""What the ledger goes on from: the state of the run before, and what is said when it can't be used."""

import json
from pathlib import Path
from typing import Any

import pytest
from ledger_fakes import (
    AGGREGATED,
    LATE,
    PROGRESS,
    RAW,
    REJECTED,
    TOPICS,
    FakeDruid,
    FakeKafka,
    closing,
    reading,
    rows,
    said,
    token,
    verify,
    window,
)
from ledger_records import close, late, rejected
from ledger_records import reading as numbered
from ledger_records import token as numbered_token
from reconciliation import job_records, parts, reconcile, sequences, state
from reconciliation.ledger import Ledger, StateMismatch
from reconciliation.progress import Progress
from reconciliation.result import Window


def go_on(kafka: FakeKafka) -> None:
    """After closing(): the job reads a reading that closes the second window, which held one."""
    kafka.values[RAW].append(reading(35))
    kafka.values[PROGRESS].append(token(3, 20, records=1))
    kafka.values[AGGREGATED].append(window(10, 1))


CLOSED = rows(3, 1, 2, 2)  # of Druid, after go_on()


def test_it_reads_only_what_is_new() -> None:
    kafka = closing()
    before = verify(kafka, rows(2, 1)).state
    go_on(kafka)
    kafka.raw_reads = 0
    outcome = verify(kafka, CLOSED, before=before)
    assert said(outcome)[0] == 0
    assert (kafka.raw_reads, outcome.found.verified_before) == (1, 2)
    assert (outcome.found.records, outcome.found.in_windows, outcome.found.in_open_windows) == (3, 2, 1)
    # Nothing is new.
    again = verify(kafka, CLOSED, before=outcome.state)
    assert (said(again)[0], kafka.raw_reads, again.found.verified_before) == (0, 1, 3)
    assert again.state == outcome.state


def test_what_retention_removes_after_it_was_verified_stays_verified() -> None:
    kafka = closing()
    before = verify(kafka, rows(2, 1)).state
    go_on(kafka)
    kafka.removed = {RAW: 2, AGGREGATED: 1, PROGRESS: 2}
    outcome = verify(kafka, CLOSED, before=before)
    assert said(outcome) == (
        0,
        "The ledger closes: 3 records = 2 in windows + 1 in open windows + 0 late + 0 rejected, in Kafka and in Druid.",
    )
    assert outcome.found.removed == {}
    assert verify(kafka, CLOSED).found.records == 0  # without the state


def test_what_retention_removes_before_it_is_verified_is_named_from_then_on() -> None:
    kafka = closing()
    before = verify(kafka, rows(2, 1)).state
    kafka.values[RAW] += [reading(16), reading(17)]
    kafka.values[PROGRESS].append(token(4, 10, records=2))
    go_on(kafka)
    kafka.values[PROGRESS][-1] = token(5, 20, records=1)
    kafka.values[AGGREGATED][-1] = window(10, 3)  # with the two that will be removed
    kafka.removed = {RAW: 4}
    outcome = verify(kafka, rows(3, 1, 2, 4), before=before)
    for each in (outcome, verify(kafka, rows(3, 1, 2, 4), before=outcome.state)):
        assert said(each)[0] == 0
        assert each.found.removed == {"raw": {0: 2}}
        assert "sensor-data-raw (2 offsets)" in said(each)[1]
    # What the removed readings excuse, they excuse once.
    kafka.values[RAW].append(reading(36))
    kafka.values[PROGRESS].append(token(6, 30, records=1))
    kafka.values[PROGRESS].append(token(6, 40))
    kafka.values[AGGREGATED].append(window(30, 3))
    code, sentence = said(verify(kafka, rows(4, 0, 3, 7), before=outcome.state))
    assert (code, "1 window counting 1 reading too many" in sentence) == (1, True)


def test_windows_that_retention_removes_before_they_are_verified_are_expected_in_druid_from_then_on() -> None:
    kafka = closing()
    before = verify(kafka, rows(2, 1)).state
    go_on(kafka)
    kafka.removed = {AGGREGATED: 2}
    outcome = verify(kafka, CLOSED, before=before)
    for each in (outcome, verify(kafka, CLOSED, before=outcome.state)):
        assert said(each)[0] == 0
        assert (each.found.removed_windows, each.found.in_removed_windows, each.found.kafka.windows) == (1, 1, 1)
        assert said(verify(kafka, rows(3, 1, 1, 1), before=outcome.state))[0] == 3
    # A window that is missing now was not removed.
    kafka.values[PROGRESS].append(token(3, 40))
    assert said(verify(kafka, CLOSED, before=outcome.state))[0] == 1


@pytest.mark.parametrize(
    ("topic", "value"),
    [(AGGREGATED, window(0, 1)), (REJECTED, rejected(0)), (LATE, late(0, 0, 10))],
)
def test_what_the_job_writes_about_verified_records_is_wrong(topic: str, value: bytes) -> None:
    kafka = closing()
    before = verify(kafka, rows(2, 1)).state
    kafka.values[topic].append(value)
    offset = len(kafka.values[topic]) - 1
    outcome = verify(kafka, rows(2, 1), before=before)
    assert said(outcome) == (
        1,
        "The ledger does not close: 1 record of the windows job about what was already verified;"
        f" see it at partition 0, offset {offset} of {topic}",
    )
    assert outcome.state is None


def test_there_is_no_state_to_go_on_from_if_a_record_is_out_of_its_place() -> None:
    """Behind a window of a batch that is not verified yet, one of an earlier batch would be read twice."""
    kafka = closing()
    kafka.values[AGGREGATED].insert(0, window(10, 1))
    sources = reconcile.Sources(kafka, FakeDruid(rows(2, 1)), TOPICS, 0)  # type: ignore[arg-type]
    progress = Progress(RAW)
    read = parts.follow(kafka, PROGRESS, progress, {0: 0})  # type: ignore[arg-type]
    assert reconcile.count(sources, progress, read, {0: 2}, None)[1] is None


def test_what_is_out_of_its_place_is_read_once_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first part ends at a window of a later batch, the last one reads on."""
    monkeypatch.setattr(parts, "PART", 0)
    kafka = closing()
    kafka.values[AGGREGATED].insert(0, window(10, 1))
    kafka.values[PROGRESS] += [token(2, 10), token(2, 20)]
    outcome = verify(kafka, rows(2, 0, 2, 2))
    assert said(outcome)[0] == 0
    assert (outcome.found.again, outcome.found.in_windows) == ([], 2)


def test_the_steps_of_all_tokens_are_not_held() -> None:
    kafka, progress = closing(), Progress(RAW)
    parts.follow(kafka, PROGRESS, progress, {0: 0})  # type: ignore[arg-type]
    assert (progress.offsets, progress.steps) == ({0: 2}, {})


def recreated(before: Any, _kafka: FakeKafka) -> None:
    before["ids"][AGGREGATED] = "another"


def other_cluster(before: Any, _kafka: FakeKafka) -> None:
    before["ids"][""] = "another"


def other_names(before: Any, _kafka: FakeKafka) -> None:
    before["ids"]["fleet"] = before["ids"].pop(RAW)


def shorter(_before: Any, kafka: FakeKafka) -> None:
    kafka.values[AGGREGATED].pop()


def tokens_removed(_before: Any, kafka: FakeKafka) -> None:
    kafka.values[PROGRESS].append(token(2, 10))
    kafka.removed[PROGRESS] = 3


def another_length(_before: Any, kafka: FakeKafka) -> None:
    kafka.values[PROGRESS].append(token(2, 10).replace(b'"window_seconds": 10', b'"window_seconds": 7'))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (recreated, "sensor-data-aggregated was created again"),
        (other_cluster, "it belongs to another Kafka cluster"),
        (other_names, "it belongs to topics of other names"),
        (shorter, "sensor-data-aggregated ends before what is verified"),
        (tokens_removed, "retention has removed records of sensor-data-progress that were not read"),
        (another_length, "the windows have another length than before"),
    ],
)
def test_a_state_that_does_not_fit_is_named_and_everything_is_read(
    change: Any, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    kafka = closing()
    before = verify(kafka, rows(2, 1)).state
    change(before, kafka)
    outcome = verify(kafka, rows(2, 1), before=before)
    sentence = f"The state of the last verification can't be used: {words}. All records are read again."
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [sentence]
    assert outcome.found.verified_before == 0


def test_the_file_of_the_state(tmp_path: Path) -> None:
    path, kafka = tmp_path / "data/ledger.json", closing()
    assert state.read(path) is None
    before = verify(kafka, rows(2, 1)).state
    assert before
    state.write(path, before)
    assert state.read(path) == json.loads(json.dumps(before))
    text = path.read_text()
    damaged = [text[:-9], text.replace('"in_windows":1', '"in_windows":2'), "", "hello", "[]", text.partition("\n")[2]]
    for each in damaged:
        path.write_text(each)
        with pytest.raises(StateMismatch, match="is damaged"):
            state.read(path)
    path.write_bytes(b"\xff")
    with pytest.raises(StateMismatch, match="is damaged"):
        state.read(path)
    path.write_text(text.replace('"version": 1', '"version": 0'))
    with pytest.raises(StateMismatch, match="has the format of another version"):
        state.read(path)
    with pytest.raises(StateMismatch, match="can't be read"):
        state.read(tmp_path)


def test_the_memory_is_bounded_by_open_windows_and_vehicles(monkeypatch: pytest.MonkeyPatch) -> None:
    """After each window is emitted, the state has the size that it had after the first one."""
    monkeypatch.setattr(parts, "PART", 0)
    kafka, sizes = FakeKafka([]), []
    before: Any = None
    for number in range(20):
        kafka.values[RAW].append(reading(number * 10))
        kafka.values[PROGRESS].append(token(number + 1, number * 10, records=1))
        kafka.values[AGGREGATED] += [window(number * 10 - 10, 1)] if number else []
        before = verify(kafka, rows(number + 1, 1, number, number), before=before).state
        sizes.append(len(json.dumps(before)))
    assert max(sizes[1:]) - min(sizes[1:]) < 40  # digits


def test_of_late_readings_the_windows_with_most_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_records, "LISTED_LATE", 1)
    progress = Progress(RAW)
    progress.add(token(9, 90, records=9))
    one = Ledger()
    one.go_on(progress)
    one.add_records(0, [(at, reading(at // 3 * 10 if at else 70)) for at in range(9)])
    one.go_on(progress.following())
    found = one.close({"raw": {0: 0}}, {0: 9}, progress)
    assert found.late == {Window(10_000, 20_000, "1"): 3}
    assert (found.more_late, found.late_readings) == (6, 9)
    positions: Any = {"positions": {}, "lengths": [10_000]}
    other = Ledger(json.loads(json.dumps(one.state(found) | positions)))
    other.go_on(progress.following())
    assert other.close({"raw": {0: 0}}, {0: 9}, progress).late_readings == 9


def test_what_is_missing_in_forgotten_gaps_stays_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequences, "REMEMBERED_GAPS", 1)
    raw: list[bytes | None] = [numbered(1, seq=seq) for seq in range(0, 20, 2)]
    assert close([numbered_token([number + 1], 0) for number in range(10)], raw).gaps == 9


def test_of_many_gaps_the_newest_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequences, "REMEMBERED_GAPS", 2)
    ranges: list[int] = []
    for seq in (1, 3, 5, 7, 9, 11):
        assert sequences.add(ranges, seq)
    assert sequences.gaps(ranges) == 5
    assert sequences.forget(ranges) == 3
    assert ranges == [1, 7, 9, 9, 11, 11]
    assert sequences.forget(ranges) == 0
    assert sequences.gaps(ranges) == 2
    assert not sequences.add(ranges, 4)  # counts as a duplicate
    assert sequences.add(ranges, 10) and sequences.add(ranges, 8)
    assert ranges == [1, 11]
