"""The program: settings, logging, and what each failure is called. Exit codes: 2 where a restart can't help, else 1."""

import logging
import os
import sys

from kafka.errors import KafkaError
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from service import log
from service.settings import BadSetting, checked

from windows_job.checkpoint import DamagedCheckpoint
from windows_job.consistency import RESET, CheckpointMismatch
from windows_job.job import run
from windows_job.output import Aggregations
from windows_job.settings import Settings
from windows_job.spark import first_line, is_state_damaged, why_spark_ended

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
        logger.error(error)
        code = 2
    except DamagedCheckpoint as error:
        logger.error("%s. Restore the checkpoint from a copy, or %s.", error, RESET)
        code = 2
    except KafkaError as error:
        servers = settings.kafka_bootstrap_servers
        logger.error("The windows job can't work with Kafka at %s: %s. Check that Kafka runs there.", servers, error)
    except (ConnectionError, PySparkException, Py4JError) as error:
        if is_state_damaged(error):
            logger.error(
                "The state in %s is damaged, as after a power loss or on a full disk (%s). Restore the checkpoint from"
                " a copy, or %s.",
                settings.checkpoint,
                first_line(error),
                RESET,
            )
            sys.exit(2)
        logger.error("The windows job %s", why_spark_ended(error, sink_errors, settings.spark_driver_memory))
    except OSError as error:
        logger.error("The windows job can't write its state: %s. Check the folder and the space on its disk.", error)
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)
