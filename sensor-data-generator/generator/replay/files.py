"""The files of a recording, and their columns."""

import csv
import glob
import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

from generator.replay.errors import BadRecording

CSV, JSON, PARQUET = "CSV", "JSON lines", "Parquet"
SUFFIXES = {".csv": CSV, ".tsv": CSV, ".txt": CSV, ".jsonl": JSON, ".ndjson": JSON, ".json": JSON, ".parquet": PARQUET}
ALLOWED = ".csv, .jsonl or .parquet"
DELIMITERS = ",;\t|"


@dataclass(frozen=True)
class Part:
    """Files that are read alike."""

    kind: str
    paths: tuple[str, ...]
    columns: tuple[str, ...] = ()  # of CSV, in order
    delimiter: str = ","


def find_files(pattern: str) -> list[str]:
    """The files of a path, a folder or a glob pattern, sorted by name. Raises BadRecording."""
    path = Path(pattern)
    try:
        if path.is_dir():
            found = sorted(str(each) for each in path.rglob("*") if each.is_file() and _kind(str(each)))
            if not found:
                raise BadRecording(f"The folder {pattern} has no recording in it: no file that ends in {ALLOWED}.")
            return found
        matching = [pattern] if path.exists() else sorted(glob.glob(pattern, recursive=True))
        found = [each for each in matching if not Path(each).is_dir()]
    except OSError as error:
        raise BadRecording(f"{pattern} can't be read: {error.strerror or error}.") from None
    if not found:
        raise BadRecording(f"{pattern} does not exist: REPLAY_FILE must name a file, a folder or a pattern of files.")
    return found


def parts(paths: Sequence[str]) -> list[Part]:
    """The files, those together that are read alike. Raises BadRecording for a file that can't be read."""
    grouped: dict[Part, list[str]] = {}
    for path in paths:
        kind = _kind(path)
        if not kind:
            raise BadRecording(f"{path} is no recording: the name of the file must end in {ALLOWED}.")
        try:
            part = _csv_part(path) if kind == CSV else _opened(path, kind)
        except (OSError, EOFError) as error:
            raise BadRecording(f"{path} can't be read: {getattr(error, 'strerror', None) or error}.") from None
        grouped.setdefault(part, []).append(path)
    return [Part(part.kind, tuple(each), part.columns, part.delimiter) for part, each in grouped.items()]


def open_text(path: str) -> IO[str]:
    """A text file, packed or not. Raises OSError."""
    opener = gzip.open if path.lower().endswith(".gz") else open
    return opener(path, "rt", encoding="utf-8-sig", errors="replace", newline="")


def first_lines(path: str, number: int) -> Iterator[str]:
    """The first lines of a text file. Raises OSError."""
    with open_text(path) as file:
        yield from islice(file, number)


def _kind(path: str) -> str | None:
    return SUFFIXES.get(Path(path.lower().removesuffix(".gz")).suffix)


def _opened(path: str, kind: str) -> Part:
    with open(path, "rb") as file:
        file.read(1)
    return Part(kind, ())


def _csv_part(path: str) -> Part:
    with open_text(path) as file:
        header = file.readline()
    delimiter = max(DELIMITERS, key=header.count)
    columns = tuple(next(csv.reader([header], delimiter=delimiter), []))
    if not columns:
        raise BadRecording(f"{path} is empty: its first line must name the columns.")
    if twice := next((name for name in columns if columns.count(name) > 1), None):
        raise BadRecording(f"{path} has two columns with the name {twice!r}: rename one of them.")
    return Part(CSV, (), columns, delimiter)
