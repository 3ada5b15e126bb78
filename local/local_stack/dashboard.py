"""`make dashboard`: Superset on the running stack, in a virtual environment of its own."""

import os
import subprocess
import time
from collections.abc import Mapping
from functools import partial

from install import install_superset

from local_stack import folder, manager, settings
from local_stack.errors import StackError, findings, refuse
from local_stack.paths import SUPERSET
from local_stack.preflight import check_port
from local_stack.services import DASHBOARD, services
from local_stack.up import settings_given, wait_until_healthy

VERSIONS = ("3.10", "3.11", "3.12")  # of Python, for Superset 6.1
PYTHONS = ("python3.12", "python3.11", "python3.10", "python3")
# The version, from a Python that can make virtual environments
VERSION = "import ensurepip, sys; print('%d.%d' % sys.version_info[:2])"


def dashboard(environment: Mapping[str, str]) -> None:
    """Install Superset where it is missing, start it, and print the address and, once, the password.

    Raises StackError.
    """
    current = manager.running()
    environment = {**environment, settings.WITH_DASHBOARD: "1"}
    all_services = services(environment)
    row = all_services[DASHBOARD]
    if not (DASHBOARD in current and current[DASHBOARD].runs):
        refuse(findings(partial(check_port, row.name, *port) for port in row.ports.items()))
    install_superset(SUPERSET, python)
    begin = time.monotonic()  # the limit of a start is not for the installation
    [(file, password)] = row.configuration.items()
    is_new = not file.exists()
    with folder.exclusive():
        row.prepare()
        settings.save(settings_given(all_services, environment))
        manager.add(all_services, DASHBOARD)
    wait_until_healthy([row], begin)
    [port] = row.ports.values()
    print(f"The dashboard is at http://localhost:{port}: the user is admin, the password is in {file}.")
    if is_new:
        print(f"The password is {password.strip()}")


def python() -> str:
    """The Python for the environment of Superset. Raises StackError."""
    seen = []
    for name in (*filter(None, [os.environ.get("PYTHON")]), *PYTHONS):
        try:
            done = subprocess.run([name, "-E", "-c", VERSION], capture_output=True, text=True)
        except OSError:
            continue
        if (version := done.stdout.strip()) in VERSIONS:
            return name
        if version:
            seen.append(f"{name} is {version}")
    raise StackError(
        f"Superset needs Python {', '.join(VERSIONS[:-1])} or {VERSIONS[-1]} with its module for virtual environments,"
        f" and there is none ({', '.join(seen) or 'nothing was found'}): install one (Debian, Ubuntu: apt-get install"
        " python3.11-venv; macOS: brew install python@3.12) and name it, as in `make dashboard PYTHON=python3.12`."
    )
