"""The ledger against the generator: it finds what was injected, figure by figure."""

import pytest
from pipeline import REJECTED, Pipeline, assert_every_window_is_right

pytestmark = pytest.mark.timeout(900)

# The reason that each kind of the generator's malformed records is rejected for.
REASONS = {
    "not a JSON object with the fields of a reading": ["truncated", "not_json", "nan_temp"],
    "time is missing": ["no_time"],
    "time is before 2000": ["old_time"],
    "time is more than 10 seconds ahead of the broker's clock": ["future_time"],
    "entity is missing": ["no_entity"],
    "temp is not a number": ["text_temp"],
    "temp is not in the range -50 to 60 °C": ["temp_out_of_range"],
    "humidity is not in the range 0 to 100 %": ["humidity_out_of_range"],
}
FAULTS = {"LATE_SHARE": "0.02", "DUPLICATE_SHARE": "0.02", "OUT_OF_ORDER_SHARE": "0.05", "MALFORMED_SHARE": "0.01"}


def reasons(stack: Pipeline) -> dict[str, int]:
    return {row["reason"]: row["n"] for row in stack.sql(f'SELECT reason, COUNT(*) n FROM "{REJECTED}" GROUP BY 1')}


def test_the_ledger_finds_what_the_generator_injected(stack: Pipeline) -> None:
    before = stack.closed()
    reasons_before = reasons(stack) if before["druid"]["rejected"] else {}
    stack.started("run", SCRIPT_DURATION="75", LATE_BY="45", NUM_ENTITIES="100", **FAULTS)
    after = stack.closed()
    injected = stack.generator()["run"]["injected"]
    assert injected["readings"] > 10_000
    assert injected["cut_short"] == 0

    def found(name: str) -> int:
        return int(after[name] - before[name])

    assert {
        "readings": after["kafka"]["readings"] - before["kafka"]["readings"],
        "late": found("late"),
        "out_of_order": found("out_of_order"),
        "duplicates": found("duplicates"),
        "gaps": found("gaps"),
        "malformed_total": found("rejected"),
    } == {name: injected[name] for name in injected if name not in ("malformed", "cut_short")}
    assert found("in_windows") == injected["readings"] - injected["late"]
    reasons_after = reasons(stack)
    for reason, kinds in REASONS.items():
        number = reasons_after[reason] - reasons_before.get(reason, 0)
        assert number == sum(injected["malformed"][kind] for kind in kinds), reason
    assert_every_window_is_right(stack.kafka, stack.router)
