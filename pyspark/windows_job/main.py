"""The program: settings, logging, and what each failure is called. Exit codes: 2 where a restart can't help, else 1."""

import logging
import os
import sys

from kafka.errors import KafkaError
from kafka_client import explained
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from service import log
from service.settings import BadSetting, checked

from windows_job import failure
from windows_job.checkpoint import DamagedCheckpoint
from windows_job.consistency import RESET, CheckpointMismatch
from windows_job.job import run
from windows_job.output import Aggregations
from windows_job.settings import Settings
from windows_job.spark import SparkNotStarted, first_line, is_state_damaged, why_spark_ended
from windows_job.spark_internals import FileSystemError

logger = logging.getLogger(__name__)


def main(aggregations: Aggregations, constants: Settings) -> None:
    """Run the job with `constants` as overridden by the environment. Ends the program with one line when it fails."""
    log.configure("pyspark")
    sink_errors: list[Exception] = []
    code = 1
    try:
        settings = checked(constants, os.environ)
        run(settings, aggregations, sink_errors)
        return
    except (BadSetting, CheckpointMismatch) as error:
        sentence, code = str(error), 2
    except DamagedCheckpoint as error:
        sentence, code = f"{error}. Restore the checkpoint from a copy, or {RESET}.", 2
    except KafkaError as error:
        servers = settings.kafka_bootstrap_servers
        sentence = (
            explained(settings.kafka, error)
            or f"The windows job can't work with Kafka at {servers}: {error}. Check that Kafka runs there."
        )
    except SparkNotStarted as error:
        sentence = str(error)
    except (ConnectionError, PySparkException, Py4JError) as error:
        if is_state_damaged(error):
            code = 2
            sentence = (
                f"The state in {settings.checkpoint_url} is damaged, as after a power loss or on a full disk"
                f" ({first_line(error)}). Restore the checkpoint from a copy, or {RESET}."
            )
        else:
            ended = f"The windows job {why_spark_ended(error, sink_errors)}"
            sentence = explained(settings.kafka, ended) or ended
    except FileSystemError as error:
        sentence = (
            f"The checkpoint in {settings.checkpoint_url} can't be used: {error}. Check CHECKPOINT_LOCATION (or"
            " checkpoint_location), what the job may do there, and that Spark has the jars of this file system."
        )
    except OSError as error:
        sentence = f"The windows job can't write its state: {error}. Check the folder and the space on its disk."
    except KeyboardInterrupt:
        sys.exit(130)
    logger.error(sentence)
    # Not `settings`: there are none when one of them is not allowed.
    failure.write(os.environ.get("WINDOWS_JOB_STATE_FILE", constants.windows_job_state_file), sentence, code)
    sys.exit(code)
