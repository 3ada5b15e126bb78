"""The verbs of the mode without Docker: up, run, replay, doctor, status, verify, down, reset (see `make help`)."""

import sys

if __name__ == "__main__":  # Ctrl-C while Python imports ends without a traceback
    sys.excepthook = lambda *error: None if error[0] is KeyboardInterrupt else sys.__excepthook__(*error)

import logging
import os
import socket
from collections.abc import Callable, Mapping
from xmlrpc.client import Fault

from local_stack import logs, preflight, settings
from local_stack.doctor import doctor
from local_stack.errors import StackError, Unhealthy, not_accessible
from local_stack.replay import replay
from local_stack.run import run
from local_stack.status import status, verify
from local_stack.stop import down, reset
from local_stack.up import up
from service.settings import BadSetting

Verb = Callable[[Mapping[str, str]], int | None]  # of the environment; returns the exit code, None for 0

# These check the settings themselves, together with what else must be so.
CHECKING: dict[str, Verb] = {"up": up, "run": run, "doctor": doctor}
# The others look at what runs already, with the settings that it was started with.
RUNNING: dict[str, Verb] = {"replay": replay, "status": status, "verify": verify, "down": down, "reset": reset}
VERBS = {**CHECKING, **RUNNING}

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
        if verb in CHECKING:
            return VERBS[verb](os.environ)
        preflight.check_command_line(os.environ)
        return VERBS[verb](settings.with_saved(os.environ))
    except StackError as error:
        logger.error("%s", error)
        return error.exit_code
    except BadSetting as error:
        logger.error("%s", error)
        return 2
    except Unhealthy as reason:
        logger.error("The stack does not answer: %s. `make status` says more.", reason)
    except OSError as error:
        logger.error(not_accessible(error))
    except Fault as fault:
        logger.error("The process manager refuses (%s): is another command stopping the stack?", fault.faultString)
    except KeyboardInterrupt:
        print(file=sys.stderr)  # behind the ^C
        logger.error(INTERRUPTED.get(verb, STARTED))
    return 1


if __name__ == "__main__":
    sys.exit(main())
