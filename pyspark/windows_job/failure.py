"""What the job has ended with, in a file beside the state file: the doctor has no access to the log.

The state file itself keeps the time of the last report, by which a health check sees that the job does not run.
"""

from contextlib import suppress
from pathlib import Path

from service import state


def write(state_file: str, sentence: str, exit_code: int) -> None:
    """Write what the job ends with, if the folder is there and has the space. The log has it in any case."""
    with suppress(OSError, ValueError):  # the path itself may be what is not allowed
        path = state.failure_file(Path(state_file))
        if path.parent.is_dir():
            state.write(path, {"sentence": sentence, "exit_code": exit_code})


def remove(state_file: Path) -> None:
    """Remove what an earlier run has ended with, as the job reports again. Raises OSError."""
    state.failure_file(state_file).unlink(missing_ok=True)
