"""The settings that the user has set: environment variables, which `make up` keeps for the verbs after it."""

import difflib
import json
import re
from collections.abc import Iterable, Mapping

from local_stack.env_file import env_file
from local_stack.errors import NotAllowed, StackError
from local_stack.paths import DATA, SETTINGS_FILE

# What make itself, the Makefile and the programs of its other verbs take from make's command line.
MAKE_VARIABLES = ("PYTHON", "INSTALLED", "STACK_DIR", "JAVA_HOME", "KILLS", "SEED", "CASE", "ROUNDS")


def in_force(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment`, and this mode's own values of what it doesn't set. Raises NotAllowed for a bad line of .env."""
    env = env_file(environment)
    own = {
        "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{env['KAFKA_PORT']}",
        "DRUID_URL": f"http://127.0.0.1:{env['ROUTER_PORT']}",
        "CHECKPOINT_LOCATION": str(DATA / "pyspark/checkpoint"),
        "WINDOWS_JOB_STATE_FILE": str(DATA / "pyspark/windows-job.json"),
        "GENERATOR_STATE_FILE": str(DATA / "generator/generator.json"),
    }
    return own | dict(environment)


def check_command_line(makeflags: str, known: Iterable[str]) -> None:
    """Raises NotAllowed for a variable on make's command line that is no setting; `makeflags` is make's MAKEFLAGS."""
    names = sorted({*known, *MAKE_VARIABLES})
    for name in command_line_variables(makeflags):
        if name in names:
            continue
        near = difflib.get_close_matches(name.upper(), names, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise NotAllowed(f'{name} is not a setting: {hint}README.md lists them under "Settings".')


def command_line_variables(makeflags: str) -> list[str]:
    """The names of the variables in MAKEFLAGS, as in `ks -j2 -- NUM_ENTITIES=7 WINDOW_DURATION=10\\ seconds`.

    make puts a backslash before blanks and backslashes in a value and leaves quotes as they are.
    """
    words = re.findall(r"(?:\\.|[^\\ \t])+", makeflags, re.DOTALL)
    variables = words[words.index("--") + 1 :] if "--" in words else []
    return [word.partition("=")[0].rstrip(":+?!") for word in variables if "=" in word]


def given(names: Iterable[str], environment: Mapping[str, str]) -> dict[str, str]:
    """Those of `names` that the environment sets."""
    return {name: environment[name] for name in dict.fromkeys(names) if name in environment}


def save(settings: Mapping[str, str]) -> None:
    """Keep what the stack was started with; the file is the old one or the new one, never half of it."""
    SETTINGS_FILE.parent.mkdir(parents=True, exist_ok=True)
    new = SETTINGS_FILE.with_suffix(".new")
    new.write_text(json.dumps(settings, indent=2) + "\n")
    new.replace(SETTINGS_FILE)


def with_saved(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment`, and what the stack was started with. Raises StackError."""
    try:
        return {**json.loads(SETTINGS_FILE.read_text()), **environment}
    except FileNotFoundError:
        return dict(environment)
    except (OSError, ValueError, TypeError) as error:
        raise StackError(f"{SETTINGS_FILE} can't be read ({error}): `make up` writes it anew.") from error
