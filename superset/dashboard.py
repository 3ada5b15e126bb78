"""The dashboard: Apache Superset with the charts in assets/, which query Druid.

Prepares Superset's own database, the user and the charts, and becomes Superset's web server.
Exit codes: 1 Superset could not be prepared, 2 a setting is not allowed.
"""

import logging
import os
import subprocess
import sys
from pathlib import Path

from dashboards.secrets import PASSWORD, keep
from dashboards.settings import USER, Settings
from service import log
from service.settings import BadSetting, checked, from_constants

# Druid configuration
druid_url = "http://router:8888"
druid_user = ""  # for a Druid with a login
druid_password_file = ""  # the file with the user's password
druid_ca_file = ""  # with https, the file with the CA; empty: the public ones

# Web server configuration
dashboard_host = "0.0.0.0"
dashboard_port = 8088
dashboard_folder = "/var/lib/sensor-data"  # Superset's own database, its key and the user's password

FOLDER = Path(__file__).resolve().parent

logger = logging.getLogger(__name__)


def main() -> int:
    """Prepare Superset with the constants above, or the environment variables that override them, and become it."""
    log.configure("dashboard")
    try:
        settings = checked(from_constants(Settings, globals()), os.environ)
    except BadSetting as error:
        logger.error(error)
        return 2
    os.environ["SUPERSET_HOME"] = str(settings.folder)
    password, is_new = keep(settings.folder / PASSWORD)
    prepared = subprocess.run(
        [sys.executable, "-m", "dashboards.provision"],
        cwd=FOLDER, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
    )  # fmt: skip
    if prepared.returncode:
        print(prepared.stdout, flush=True)
        logger.error("Superset could not be prepared, see above.")
        return 1
    if is_new:
        logger.info("The user is %s, the password is %s. It is in %s.", USER, password, settings.folder / PASSWORD)
    logger.info("The dashboard is at http://localhost:%d", settings.dashboard_port)
    arguments = [
        f"--bind={settings.dashboard_host}:{settings.dashboard_port}",
        "--worker-class=gthread",
        "--threads=8",
        "--timeout=120",
        "--log-level=warning",
        "--no-control-socket",
        f"--pythonpath={FOLDER}",
        "superset.app:create_app()",
    ]
    os.execv(sys.executable, [sys.executable, "-m", "gunicorn", *arguments])


if __name__ == "__main__":
    sys.exit(main())
