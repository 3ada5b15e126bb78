"""The figures of a reconciliation: as a table for people, and as JSON for programs."""

from collections import Counter
from dataclasses import asdict
from typing import Any

from reconciliation.lookup import moment, shown
from reconciliation.result import Reconciliation, Rows, Run

LONGEST_LIST = 10  # lines


def figures(found: Reconciliation, druid: Rows) -> dict[str, Any]:
    """Every figure of the table by a name that stays the same, ready for JSON."""
    return {
        "records": found.records,
        "in_windows": found.in_windows,
        "in_removed_windows": found.in_removed_windows,
        "in_open_windows": found.in_open_windows,
        "late": found.late_readings,
        "rejected": found.rejected.total(),
        "unread": found.unread,
        "in_none": found.in_none,
        "held_back": found.held_back,
        "verified_before": found.verified_before,
        "removed": {role: found.removed_from(role) for role in found.removed},
        "runs": [run._asdict() for run in found.runs],
        "acknowledged": found.acknowledged,
        "kafka": asdict(found.kafka),
        "druid": asdict(druid),
        "duplicates": found.duplicates,
        "gaps": found.gaps,
        "out_of_order": found.out_of_order,
        "rejected_by_reason": dict(found.rejected),
    }


def table(found: Reconciliation, druid: Rows) -> str:
    """All figures, several lines; of lists the largest entries."""
    kafka = found.kafka
    one = [
        ("records in the raw topic", found.records),
        ("  in windows that are emitted", found.in_windows),
        ("  in windows still open", found.in_open_windows),
        ("  in windows removed by retention", found.in_removed_windows),
        ("  late", found.late_readings),
        ("  rejected", found.rejected.total()),
        ("  not yet read by the windows job", found.unread),
        ("  in none of these", found.in_none),
    ]
    two = [
        ("readings", kafka.readings, druid.readings),
        ("windows", kafka.windows, druid.windows),
        ("readings in windows", kafka.readings_in_windows, druid.readings_in_windows),
        ("late", kafka.late, druid.late),
        ("rejected", kafka.rejected, druid.rejected),
        ("windows that appear twice", kafka.duplicate_windows, druid.duplicate_windows),
    ]
    seqs = [
        ("duplicates by (entity, seq)", found.duplicates),
        ("gaps in seq", found.gaps),
        ("out of order", found.out_of_order),
    ]
    late = Counter({f"{moment(start)} vehicle {shown(entity)}": n for (start, _, entity), n in found.late.items()})
    lines = [_line(label, "", f"{number:,}") for label, number in one]
    lines += ["", _line("", "Kafka", "Druid")]
    lines += [_line(label, f"{there:,}", f"{here:,}") for label, there, here in two]
    lines += ["", *(_line(label, f"{number:,}") for label, number in seqs)]
    lines += _runs(found)
    lines += [*_largest("rejected, by reason", found.rejected), *_largest("late, by window and vehicle", late)]
    lines += [_line("  in other windows", "", f"{found.more_late:,}")] if found.more_late else []
    return "\n".join(lines)


def _runs(found: Reconciliation) -> list[str]:
    """What the newest runs of the generator have sent, and all of them together; no line when there are none."""
    if not found.runs:
        return []
    runs = found.runs[-LONGEST_LIST:]
    older = len(found.runs) - len(runs)
    lines = ["", _line("", "sent", "acknowledged")]
    lines += [_line(f"all runs of the generator: {len(found.runs):,}", *_counts(found.runs))]
    lines += [_line(f"  {shown(run.started_at[:19])} {shown(run.state)}", *_counts([run])) for run in runs]
    return lines + ([_line(f"  ... and {older:,} older")] if older else [])


def _counts(runs: list[Run]) -> tuple[str, str]:
    return f"{sum(run.sent for run in runs):,}", f"{sum(run.acknowledged for run in runs):,}"


def _line(label: str, *columns: str) -> str:
    """Columns of 12 characters after a label of 28; a longer one takes space from the left."""
    line = f"  {label}"
    for end, text in zip((40, 52), columns, strict=False):
        line += f" {text:>{max(0, end - len(line) - 1)}}" if text else ""
    return line


def _largest(title: str, counts: Counter[str]) -> list[str]:
    """The largest counts under their title; no line when there are none."""
    if not counts:
        return []
    entries = counts.most_common(LONGEST_LIST)
    lines = [_line(f"  {shown(' '.join(text.split()))}", "", f"{number:,}") for text, number in entries]
    more = [_line(f"  ... and {len(counts) - LONGEST_LIST:,} more")] if len(counts) > LONGEST_LIST else []
    return ["", _line(title), *lines, *more]
