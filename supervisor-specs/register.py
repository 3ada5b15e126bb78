"""Register one Druid supervisor per datasource, wait until all run, and exit. A second run changes nothing."""

import logging
import os
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from kafka.errors import KafkaError
from kafka_client import KafkaClient, NoAccess, await_access
from registration import supervisors
from registration.druid import DataMismatch, Druid, Refused
from registration.settings import Settings
from registration.specs import InvalidSpec, load_specs, scale
from registration.wait import wait_for
from service import log
from service.contract import topics
from service.druid import Denied
from service.settings import BadSetting, checked, from_constants

# Address of Druid's router
druid_url = "http://router:8888"
druid_user = ""  # for a Druid with a login
druid_password_file = ""  # the file with the user's password
druid_ca_file = ""  # with https, the file with the CA; empty: the public ones

# Tasks that share the partitions of a topic, and how many read each partition (0: as the spec says)
druid_task_count = 0
druid_replicas = 0

# Address of the Kafka broker, for this script and for Druid; it replaces "bootstrap.servers" in the specs
kafka_bootstrap_servers = "kafka0:29092"

# A file with Kafka's own client properties, such as security.protocol; empty: none
kafka_client_properties = ""

# Seconds to wait for each of: Kafka, Druid, a supervisor
WAIT_FOR = 180

# Seconds in which Druid must load at least one more of the stored segments
WAIT_FOR_SEGMENTS = 40

SPECS = Path(__file__).resolve().parent

logger = logging.getLogger(__name__)


def register_all(druid: Druid, kafka: KafkaClient, specs: Mapping[str, Mapping[str, Any]]) -> None:
    """Register the specs, by datasource, and return when all run. Raises DataMismatch, Refused or TimeoutError."""
    await_access(kafka, WAIT_FOR)
    topic_of = {name: spec["spec"]["ioConfig"]["topic"] for name, spec in specs.items()}
    ids = wait_for("the topics", partial(supervisors.topic_ids, kafka, topic_of.values()), WAIT_FOR)
    wait_for("Druid", partial(supervisors.check_druid, druid), WAIT_FOR)
    wait_for("Druid's list of supervisors", partial(supervisors.check_topics, druid, specs, ids), WAIT_FOR)
    for name, spec in specs.items():
        wait_for(f"supervisor {name}", partial(supervisors.check_terminated, druid, name), WAIT_FOR)
        post = partial(supervisors.register, druid, spec, ids[topic_of[name]])
        wait_for(f"Druid to accept supervisor {name}", post, WAIT_FOR)
        wait_for(f"Druid to accept the compaction of {name}", partial(supervisors.compact, druid, spec), WAIT_FOR)
        logger.info("supervisor %s: registered", name)
    for name in specs:
        wait_for(f"supervisor {name}", partial(supervisors.check_running, druid, name), WAIT_FOR)
        logger.info("supervisor %s: RUNNING", name)
    for name in specs:
        check = partial(supervisors.check_segments, druid, name)
        wait_for(f"the segments of {name}", check, WAIT_FOR_SEGMENTS, since_change=True)


def main() -> int:
    """The exit code: 0, 1 when the supervisors can't be registered, 2 for a setting or a spec that is not valid."""
    log.configure("supervisor-specs")
    try:
        settings = checked(from_constants(Settings, globals()), os.environ)
        specs = load_specs(SPECS, topics(os.environ), settings.kafka)
        scale(specs.values(), settings.druid_task_count, settings.druid_replicas)
        druid = Druid(settings)
    except (BadSetting, InvalidSpec) as error:
        logger.error(error)
        return 2
    try:
        register_all(druid, settings.kafka, specs)
    except (DataMismatch, Denied, NoAccess) as error:
        logger.error(error)
        return 1
    except Refused as error:
        logger.error("Druid refused a supervisor: %s", error)
        return 1
    except (TimeoutError, KafkaError) as error:
        logger.error("The supervisors are not registered: %s.", error)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
