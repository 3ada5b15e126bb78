"""The verbs of the mode without Docker: up, run, status, verify, down, reset (see `make help`)."""

import logging
import os
import socket
import sys
from collections.abc import Callable, Mapping
from xmlrpc.client import Fault

from local_stack import folder, logs, settings
from local_stack.env_file import env_file
from local_stack.errors import StackError, Unhealthy
from local_stack.run import run
from local_stack.services import ledger, services
from local_stack.status import status, verify
from local_stack.stop import down, reset
from local_stack.up import up
from service.settings import BadSetting

Verb = Callable[[Mapping[str, str]], int | None]  # of the environment; returns the exit code, None for 0

START: dict[str, Verb] = {"up": up, "run": run}
# These look at what runs already, with the settings that it was started with.
VERBS: dict[str, Verb] = {**START, "status": status, "verify": verify, "down": down, "reset": reset}

MANAGER_TIMEOUT = 30  # seconds for an answer of the process manager

# What Ctrl-C leaves behind.
STARTED = "The stack, if it was started, goes on in the background: `make status`, `make down`."
INTERRUPTED = {
    "down": "Not everything may have stopped: run `make down` again.",
    "reset": "Not all data may be removed: run `make reset` again before the next start.",
}

logger = logging.getLogger(__name__)


def main() -> int | None:
    if len(sys.argv) != 2 or sys.argv[1] not in VERBS:
        sys.exit(f"usage: stack.py {'|'.join(VERBS)}")
    verb = sys.argv[1]
    logs.configure()
    socket.setdefaulttimeout(MANAGER_TIMEOUT)
    try:
        check_command_line()
        if verb in START:
            folder.claim()
            environment: Mapping[str, str] = os.environ
        else:
            environment = settings.with_saved(os.environ)
        logs.configure()
        return VERBS[verb](environment)
    except StackError as error:
        logger.error("%s", error)
        return error.exit_code
    except BadSetting as error:
        logger.error("%s", error)
        return 2
    except Unhealthy as reason:
        logger.error("The stack does not answer: %s. `make status` says more.", reason)
    except OSError as error:
        logger.error("%s. Check who owns the file or folder, and whether the disk has space.", error)
    except Fault as fault:
        logger.error("The process manager refuses (%s): is another command stopping the stack?", fault.faultString)
    except KeyboardInterrupt:
        print(file=sys.stderr)  # behind the ^C
        logger.error(INTERRUPTED.get(verb, STARTED))
    return 1


def check_command_line() -> None:
    """Raises NotAllowed for a name on make's command line that is no setting."""
    rows = [*services(os.environ).values(), ledger(os.environ)]
    names = [name for row in rows for name in row.settings]
    settings.check_command_line(os.environ.get("MAKEFLAGS", ""), [*names, *env_file(os.environ)])


if __name__ == "__main__":
    sys.exit(main())
