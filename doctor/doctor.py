"""Find out what is wrong with a stack that runs, or runs in part: print a sentence for each cause, with its remedy.

Exit codes: 0 nothing was found, 1 something was found, 2 a setting is not allowed.
"""

import logging
import os
import sys

from diagnosis.diagnose import CHECKED, diagnose
from diagnosis.settings import Settings
from service import log
from service.contract import topics
from service.settings import BadSetting, checked, from_constants

# Kafka configuration
kafka_bootstrap_servers = "kafka0:29092"
kafka_transactional_id = ""  # of the windows job; empty: the name of the progress topic-windows-job
kafka_client_properties = ""  # a file with Kafka's client properties, such as security.protocol; empty: none

# Druid configuration
druid_url = "http://router:8888"
druid_user = ""  # for a Druid with a login
druid_password_file = ""  # the file with the user's password
druid_ca_file = ""  # with https, the file with the CA; empty: the public ones

# Windows job configuration
windows_job_state_file = "/var/lib/sensor-data/windows-job.json"

CANCELLED = 130

logger = logging.getLogger(__name__)


def main() -> int:
    """Look with the constants above, or the environment variables that override them; return the exit code."""
    log.configure("doctor")
    try:
        settings = checked(from_constants(Settings, globals()), os.environ)
        findings = diagnose(settings, topics(os.environ))
    except BadSetting as error:
        logger.error(error)
        return 2
    except KeyboardInterrupt:
        return CANCELLED
    for finding in findings:
        print(" ".join(finding.split()))
    if not findings:
        print(f"Nothing was found. Checked: {CHECKED}.")
    sys.stdout.flush()
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
