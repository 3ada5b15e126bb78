"""What .env says: versions, ports, memory. Standard library only: install.py uses it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from local_stack.errors import NotAllowed
from local_stack.paths import ROOT


def env_file(environment: Mapping[str, str]) -> dict[str, str]:
    """What .env sets, an environment variable of the same name overriding it. Raises NotAllowed with all bad lines."""
    values, problems = {}, []
    for line in map(str.strip, (ROOT / ".env").read_text().splitlines()):
        if not line or line.startswith("#"):
            continue
        match = re.fullmatch(r"""(\w+)=(["']?)([^\s"'#$]*)\2""", line)
        if not match:
            problems.append(f".env has the line {line!r}: it must be NAME=value and nothing more.")
            continue
        name, value = match[1], environment.get(match[1], match[3])
        if name.endswith("_PORT") and not (re.fullmatch("[0-9]{1,5}", value) and 0 < int(value) < 65536):
            problems.append(f"{name}, in .env or in the environment, is {value!r}: it must be a port, 1 to 65535.")
        values[name] = value
    if problems:
        raise NotAllowed(*problems)
    return values


def image_version(variable: str, environment: Mapping[str, str]) -> str:
    """The version in the tag of an image in .env: both modes run the same one. Raises NotAllowed."""
    image = env_file(environment)[variable]
    tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]  # the registry may have a port
    if not re.fullmatch(r"\d+(\.\d+)+[\w.-]*", tag):
        raise NotAllowed(
            f"{variable}, in .env or in the environment, is {image!r}: it must have the version as its tag, as in"
            " name:1.2.3 or name:1.2.3@sha256:..., because this mode installs the same version."
        )
    return tag
