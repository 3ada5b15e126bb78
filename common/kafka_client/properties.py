"""Kafka's client properties, as administrators hand them out. Pure, except that secrets may be in files of their own.

The format is that of java.util.Properties. A value may name a secret by one of Kafka's config providers, as in
${directory:/run/secrets:password}; the file must configure the provider as Kafka wants it.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from service.settings import BadFile

# What the file is read for. Other properties (acks, group.id, ...) are what the services themselves decide.
USED = ("security.", "sasl.", "ssl.", "config.providers")
SECRET = ("sasl.jaas.config", "ssl.key.password")
PATHS = ("ssl.truststore.location", "ssl.keystore.location")
ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
SPACE = " \t\f"
PROVIDERS = "org.apache.kafka.common.config.provider"


class BadProperties(BadFile):
    """The file can't be used."""


@dataclass(frozen=True)
class Properties:
    """The properties of a file that concern the connection. They hold secrets, so they are never shown."""

    path: str = ""  # of the file; empty: there is none
    given: Mapping[str, str] = field(default_factory=dict, repr=False)  # as in the file, with absolute paths
    values: Mapping[str, str] = field(default_factory=dict, repr=False)  # with the secrets that the file refers to

    def get(self, name: str, default: str = "") -> str:
        return self.values.get(name, default).strip()


def read(path: str) -> Properties:
    """The properties of a file; none for an empty path. Raises BadProperties."""
    if not path:
        return Properties()
    try:
        everything = parse(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise BadProperties(f"it can't be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise BadProperties("it is not a text in UTF-8") from error
    folder = Path(path).absolute().parent
    given = {name: value for name, value in everything.items() if name.startswith(USED)}
    for name in PATHS:
        if name in given and "${" not in given[name]:  # the same file serves programs that run in other folders
            given[name] = str(folder / given[name].strip())
    return Properties(path, given, {name: _with_secrets(value, given) for name, value in given.items()})


def parse(text: str) -> dict[str, str]:
    """The keys and values of a text in the format of java.util.Properties. Raises BadProperties."""
    found = {}
    for line in _logical_lines(text):
        key = re.match(r"(?:\\.|[^\\=: \t\f])*", line, re.DOTALL)
        assert key  # it may be empty
        value = line[key.end() :].lstrip(SPACE)
        if value[:1] in ("=", ":"):
            value = value[1:].lstrip(SPACE)
        found[_unescaped(key[0])] = _unescaped(value)
    return found


def _logical_lines(text: str) -> Iterator[str]:
    """The lines without comments, with those joined that end with a backslash."""
    joined = ""
    for natural in re.split(r"\r\n|\r|\n", text):
        line = natural.lstrip(SPACE)
        if not joined and (not line or line[0] in "#!"):
            continue
        backslashes = len(line) - len(line.rstrip("\\"))
        if backslashes % 2:
            joined += line[:-1]
            continue
        yield joined + line
        joined = ""
    if joined:
        yield joined


def _unescaped(text: str) -> str:
    def character(match: re.Match[str]) -> str:
        if match[1]:
            return chr(int(match[1], 16))
        return ESCAPES.get(match[2], match[2])

    return re.sub(r"\\(?:u([0-9a-fA-F]{4})|(.))", character, text, flags=re.DOTALL)


def _with_secrets(value: str, given: Mapping[str, str]) -> str:
    """A value with what its references to config providers stand for. Raises BadProperties."""
    declared = [name.strip() for name in given.get("config.providers", "").split(",")]

    def secret(match: re.Match[str]) -> str:
        provider, path, key = match[1], match[2] or "", match[3]
        known = given.get(f"config.providers.{provider}.class", "").strip().removeprefix(f"{PROVIDERS}.")
        if provider not in declared or known not in READERS:
            raise BadProperties(
                f"it refers to ${{{provider}:...}}, and config.providers must declare that name with one of the classes"
                f" {', '.join(READERS)} of {PROVIDERS}"
            )
        try:
            return READERS[known](path, key)
        except (OSError, LookupError, UnicodeDecodeError) as error:
            what = ":".join(part for part in (provider, path, key) if part)
            reason = error.strerror if isinstance(error, OSError) else "it is not there"
            raise BadProperties(f"its secret ${{{what}}} can't be read ({reason})") from None

    return re.sub(r"\$\{([^}:]+):(?:([^}]*):)?([^}:]+)\}", secret, value)


def _in_folder(folder: str, name: str) -> str:
    text = (Path(folder) / name).read_bytes().decode()
    if text.endswith("\n"):
        raise BadProperties(
            f"its secret {Path(folder) / name} ends with a line break, which Kafka's Java clients take as a part of it:"
            " write the file without (printf %s)"
        )
    return text


READERS: dict[str, Callable[[str, str], str]] = {
    "DirectoryConfigProvider": _in_folder,
    "FileConfigProvider": lambda path, key: parse(Path(path).read_text(encoding="utf-8"))[key],
}
