"""`make replay`."""

import subprocess
from collections.abc import Mapping

from local_stack import folder, manager, services
from local_stack.errors import NotAllowed, StackError

# The variables of make that stand for settings
SHORT = {"FILE": "REPLAY_FILE", "MAP": "REPLAY_MAP"}


def replay(environment: Mapping[str, str]) -> int:
    """Send a recording to the running stack; returns the exit code of the generator's script.

    Raises NotAllowed without a file, and StackError when the stack is not running, unless the user has set the address
    of another Kafka. A dry run needs no stack.
    """
    short = {SHORT[name]: environment[name] for name in SHORT if name in environment}
    script = services.replay({**environment, **short})
    if not script.settings["REPLAY_FILE"]:
        raise NotAllowed("There is no recording to replay: name it, as in `make replay FILE=recordings/trip.csv`.")
    is_dry = str(script.settings["REPLAY_DRY_RUN"]).lower() == "true"
    if not is_dry and "KAFKA_BOOTSTRAP_SERVERS" not in environment and not manager.processes():
        raise StackError(manager.not_running())
    folder.claim()
    return subprocess.run(script.command, env=manager.inherited() | script.variables).returncode
