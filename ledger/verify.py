"""Verify that every record of the raw topic is accounted for, in Kafka and in Druid: print a table and a verdict.

Exit codes: 0 the ledger closes, 1 it does not close or can't be computed, 2 a setting is not allowed, 3 something is
still under way.
"""

import logging
import os
import sys
from pathlib import Path
from typing import Any

from kafka.errors import KafkaError
from kafka_client import await_access, explained
from reconciliation import state as ledger_state
from reconciliation.druid import Druid
from reconciliation.ledger import StateMismatch
from reconciliation.reconcile import State, reconcile
from reconciliation.report import figures, table
from reconciliation.settings import Settings
from reconciliation.topics import CONNECT_TIMEOUT, KafkaTopics
from reconciliation.verdict import CLOSES, DOES_NOT_CLOSE, verdict
from service import log, state
from service.contract import topics
from service.druid import DruidError
from service.settings import BadSetting, checked, from_constants

# Script configuration
wait = 0  # seconds to wait for what is under way; 0 reports the present state
result_file = ""  # a file for the verdict and the figures as JSON; empty: none
ledger_state_file = "/var/lib/sensor-data/ledger.json"  # what is verified already; empty: none
full = 0  # 1: verify all records again

# Kafka configuration
kafka_bootstrap_servers = "kafka0:29092"
kafka_client_properties = ""  # a file with Kafka's client properties, such as security.protocol; empty: none

# Druid configuration
druid_url = "http://router:8888"
druid_user = ""  # for a Druid with a login
druid_password_file = ""  # the file with the user's password
druid_ca_file = ""  # with https, the file with the CA; empty: the public ones

CANCELLED = 130

logger = logging.getLogger(__name__)


def main() -> int:
    """Verify with the constants above, or the environment variables that override them; return the exit code."""
    log.configure("verify")
    try:
        settings = checked(from_constants(Settings, globals()), os.environ)
        write_result(settings, None)
        return verify(settings)
    except BadSetting as error:
        logger.error(error)
        return 2
    except KeyboardInterrupt:
        return CANCELLED


def verify(settings: Settings) -> int:
    """Print the table and the verdict, write the result and return the exit code. Raises BadSetting."""
    contract, kafka, druid = topics(os.environ), settings.kafka, Druid(settings)
    state = None if settings.full else read_state(settings.ledger_state_file)
    try:
        await_access(kafka, CONNECT_TIMEOUT)
        druid.check_login()  # before a long topic is read
        outcome = reconcile(KafkaTopics(kafka), druid, contract, settings.wait, state)
    except (KafkaError, DruidError, ValueError) as error:
        of_kafka = isinstance(error, KafkaError)
        reason = f"Kafka at {kafka.servers}: {error}" if of_kafka else str(error).rstrip(".")
        sentence = (of_kafka and explained(kafka, error)) or f"The ledger can't be computed: {reason}."
        code, numbers = DOES_NOT_CLOSE, {}
        logger.error(sentence)
    else:
        found, rows = outcome.found, outcome.rows
        code, sentence = verdict(found, rows, contract)
        numbers = figures(found, rows)
        print(f"{table(found, rows)}\n\n{sentence}", flush=True)
        if outcome.state:
            write_state(settings.ledger_state_file, outcome.state)
    write_result(settings, {"closes": code == CLOSES, "exit_code": code, "sentence": sentence, "figures": numbers})
    return code


def read_state(path: str) -> State | None:
    """What is verified already; None if nothing is, or the file can't be used, which is reported."""
    try:
        return ledger_state.read(Path(path)) if path else None
    except StateMismatch as error:
        logger.warning("The state of the last verification can't be used: %s. All records are read again.", error)
        return None


def write_state(path: str, state: State) -> None:
    """Keep what is verified. Without it, the next run takes longer, so a failure doesn't change the verdict."""
    try:
        if path:
            ledger_state.write(Path(path), state)
    except OSError as error:
        logger.warning("LEDGER_STATE_FILE (or ledger_state_file) is %r: it can't be written (%s).", path, error)


def write_result(settings: Settings, result: dict[str, Any] | None) -> None:
    """Write the result file, or remove the one of an earlier run. Raises BadSetting when it can't be written."""
    if not settings.result_file:
        return
    path = Path(settings.result_file)
    try:
        if result:
            state.write(path, result)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise BadSetting(
            f"RESULT_FILE (or result_file) is {settings.result_file!r}: it can't be written ({error})."
        ) from error


if __name__ == "__main__":
    sys.exit(main())
