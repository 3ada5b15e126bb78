"""Readings of other people's clients, compressed with each codec that Kafka has, on the stack without Docker."""

import pytest
from clients import send_every_codec
from pipeline import RAW, Pipeline, assert_every_window_is_right

pytestmark = pytest.mark.timeout(900)


def test_every_service_reads_readings_in_every_codec(stack: Pipeline) -> None:
    before, sent_before = stack.closed(), stack.acknowledged()
    sent = send_every_codec(stack.kafka, RAW)
    stack.started("run")  # the generator looks for the last sequence numbers among them
    sent += stack.acknowledged() - sent_before
    after = stack.closed()
    for system in ("kafka", "druid"):
        assert after[system]["readings_in_windows"] - before[system]["readings_in_windows"] == sent
    assert after["rejected"] == before["rejected"]
    assert_every_window_is_right(stack.kafka, stack.router)
