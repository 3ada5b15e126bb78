"""`make down` and `make reset`."""

import logging
import shutil
from collections.abc import Mapping

import psutil

from local_stack import manager
from local_stack.errors import StackError
from local_stack.paths import DATA, LOGS, STACK
from local_stack.services import services

STOP_LIMIT = 180  # seconds until everything must have stopped

# What a stack creates in its folder, which may hold other things as well, besides what the services' rows name.
FILES = ["logs/*.log*", "supervisord.*", "supervisor.sock*", "settings.json"]

logger = logging.getLogger(__name__)


def down(_: Mapping[str, str]) -> None:
    """Stop everything, the generator first and Kafka last; the data stays. Raises StackError."""
    if not manager.processes():
        print("Nothing runs.", flush=True)
        return
    pid = manager.rpc().getPID()
    manager.rpc().shutdown()
    logger.info("stopping ...")
    try:
        psutil.Process(pid).wait(timeout=STOP_LIMIT)
    except psutil.NoSuchProcess:
        pass
    except psutil.TimeoutExpired:
        raise StackError(
            f"The process manager (process {pid}) still runs after {STOP_LIMIT} s: see {LOGS / 'supervisord.log'}."
        ) from None
    logger.info("stopped; the data is kept")


def reset(environment: Mapping[str, str]) -> None:
    """Stop, and remove Kafka's log, the checkpoint and Druid's data, all together: none fits without the others."""
    down(environment)
    rows = services(environment).values()
    # The top folders: what a service has created beside the folders of its row goes, too.
    folders = {DATA / path.relative_to(DATA).parts[0] for row in rows for path in row.data}
    try:
        for folder in folders:
            if folder.exists():
                shutil.rmtree(folder)
        for path in (
            *(path for row in rows for path in row.configuration),
            *(path for pattern in FILES for path in STACK.glob(pattern)),
        ):
            path.unlink(missing_ok=True)
        for folder in (DATA, LOGS, STACK):
            if folder.exists() and not any(folder.iterdir()):
                folder.rmdir()
    except OSError as error:
        raise StackError(
            f"Not all data could be removed ({error}): remove what is left in {STACK} before the next start."
        ) from error
    print("all data is removed; the next start is a first one", flush=True)
