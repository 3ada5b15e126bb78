"""Without Docker: processes that have ended, and the path of the process manager's socket."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from local_stack import manager, paths


def test_a_process_that_was_not_reaped_has_ended() -> None:
    """As in a container whose first process reaps none."""
    begin = "import subprocess, time; print(subprocess.Popen(['sleep', '100']).pid, flush=True); time.sleep(100)"
    with subprocess.Popen([sys.executable, "-c", begin], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        process = psutil.Process(int(parent.stdout.readline()))
        try:
            assert manager.still_running([process], 0) == [process]
            process.kill()
            assert manager.still_running([process], 20) == []
            assert process.is_running()
        finally:
            parent.kill()
            process.kill()


@pytest.mark.parametrize("depth", [1, 10, 100])
def test_the_path_of_the_socket_is_short_enough_for_every_system(depth: int) -> None:
    stack = Path("/", *["проект"] * depth)
    found = paths.socket_path(stack)
    assert len(os.fsencode(found)) <= paths.LONGEST_SOCKET
    assert found == paths.socket_path(stack)
    assert found != paths.socket_path(stack / "another")
    assert (found.parent == stack) == (depth == 1)
