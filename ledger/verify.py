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
from reconciliation.druid import Druid, DruidError
from reconciliation.reconcile import reconcile
from reconciliation.report import figures, table
from reconciliation.settings import Settings
from reconciliation.topics import KafkaTopics
from reconciliation.verdict import CLOSES, DOES_NOT_CLOSE, verdict
from service import log, state
from service.contract import topics
from service.settings import BadSetting, checked

# Script configuration
wait = 0  # seconds to wait for what is under way; 0 reports the present state
result_file = ""  # a file for the verdict and the figures as JSON; empty: none

# Kafka configuration
kafka_bootstrap_servers = "kafka0:29092"

# Druid configuration
druid_url = "http://router:8888"

CANCELLED = 130

logger = logging.getLogger(__name__)


def main() -> int:
    """Verify with the constants above, or the environment variables that override them; return the exit code."""
    log.configure("verify")
    try:
        settings = checked(
            Settings(
                wait=wait,
                result_file=result_file,
                kafka_bootstrap_servers=kafka_bootstrap_servers,
                druid_url=druid_url,
            ),
            os.environ,
        )
        write_result(settings, None)
        return verify(settings)
    except BadSetting as error:
        logger.error(error)
        return 2
    except KeyboardInterrupt:
        return CANCELLED


def verify(settings: Settings) -> int:
    """Print the table and the verdict, write the result and return the exit code. Raises BadSetting."""
    contract, servers = topics(os.environ), settings.kafka_bootstrap_servers
    try:
        found, rows = reconcile(KafkaTopics(servers), Druid(settings.druid_url), contract, settings.wait)
    except (KafkaError, DruidError, ValueError) as error:
        reason = f"Kafka at {servers}: {error}" if isinstance(error, KafkaError) else error
        code, sentence, numbers = DOES_NOT_CLOSE, f"The ledger can't be computed: {reason}.", {}
        logger.error(sentence)
    else:
        code, sentence = verdict(found, rows, contract)
        numbers = figures(found, rows)
        print(f"{table(found, rows)}\n\n{sentence}", flush=True)
    write_result(settings, {"closes": code == CLOSES, "exit_code": code, "sentence": sentence, "figures": numbers})
    return code


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
