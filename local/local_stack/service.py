"""What a service is: one row of services.py."""

import hashlib
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from service.files import write_whole

from local_stack.errors import StackError


@dataclass(frozen=True)
class Process:
    """The process of a service, as the process manager knows it."""

    name: str
    state: str  # STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED or FATAL
    pid: int  # 0 where there is none
    exit_code: int  # of the last end
    started_at: int  # seconds since the epoch

    @property
    def runs(self) -> bool:
        return self.state in ("STARTING", "RUNNING")

    @property
    def ended(self) -> bool:
        return self.state in ("STOPPED", "EXITED", "FATAL")

    @property
    def finished(self) -> bool:
        """It has ended by itself, without an error."""
        return self.state == "EXITED" and self.exit_code == 0

    @property
    def failed(self) -> bool:
        """It has ended with an error and is not restarted."""
        return self.state == "FATAL" or (self.state == "EXITED" and self.exit_code != 0)


# A few words on how a service is that runs or has finished; raises Unhealthy with what was seen.
Check = Callable[[Process], str]


@dataclass(frozen=True)
class Setup:
    """A command to run before the first start of a service."""

    command: list[str]
    creates: Path  # where this is there, the command has been run


@dataclass(frozen=True)
class Service:
    """One process, and all that the stack knows about it. A one-shot ends by itself; others are always restarted."""

    name: str  # as in docker-compose.yml
    command: list[str]
    folder: Path  # where it runs
    check: Check
    settings: Mapping[str, str | None] = field(default_factory=dict)  # constants of its script; None: not overridden
    environment: Mapping[str, str] = field(default_factory=dict)  # what else it gets
    ports: Mapping[str, int] = field(default_factory=dict)  # by the variable in .env
    one_shot: bool = False
    every_up: bool = False  # a one-shot that each `make up` runs again: it sets right what was changed meanwhile
    stopped_last: bool = False  # the others need it until they have ended
    stop_signal: str = "TERM"
    state_file: Path | None = None
    data: Sequence[Path] = ()  # folders that it writes to, below DATA
    configuration: Mapping[Path, str] = field(default_factory=dict)  # content by file, written before each start
    files: Sequence[Path] = ()  # an edit of one restarts the service at the next `make up`
    setup: Setup | None = None

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables that it gets beside those that all services get."""
        overridden = {name: value for name, value in self.settings.items() if value is not None}
        return {**self.environment, **overridden}

    def prepare(self) -> None:
        """Create the service's folders and write its configuration."""
        for folder in self.data:
            folder.mkdir(parents=True, exist_ok=True)
        for path, content in self.configuration.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, content, mode=0o600)  # it may hold a password

    def run_setup(self, environment: Mapping[str, str] | None = None) -> None:
        """Run the setup unless that was done, with this process's environment or another. Raises StackError."""
        if not self.setup or self.setup.creates.exists():
            return
        result = subprocess.run(
            self.setup.command, cwd=self.folder, env=environment, capture_output=True, text=True, errors="replace"
        )
        if result.returncode:
            output = (result.stderr or result.stdout).strip()[-500:]
            raise StackError(f"{self.name} could not be set up: {output}")

    def digest(self) -> str:
        """Changes with the configuration and with the content of every file."""
        digest = hashlib.sha256("\0".join(self.configuration.values()).encode())
        for path in sorted(self.files):
            if path.is_file():  # an editor's lock is a link to nowhere
                digest.update(path.read_bytes())
        return digest.hexdigest()[:16]
