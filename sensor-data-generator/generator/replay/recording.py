"""A recording in DuckDB: read once, what can't be mapped counted, and sorted by time, on disk if memory is short."""

import json
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
from service.contract import signals

from generator.replay import query
from generator.replay.errors import BadRecording, NoRoom
from generator.replay.files import CSV, JSON, PARQUET, Part, find_files, first_lines, parts
from generator.replay.mapping import ISO, MILLISECONDS, SECONDS, nearest, read_mapping
from generator.replay.problems import EXAMPLES, Problem, Refused, not_mapped, not_read
from generator.replay.query import Columns

MEMORY_LIMIT = "1GiB"  # of DuckDB; the container of the generator has 2 GiB
THREADS = "2"  # each needs a share of that memory
BLOCK = 10_000  # records at a time
LOOKED_AT = 10_000  # lines of a JSON file in which its columns are looked for
SQL_TYPES = {"integer": "BIGINT", "string": "VARCHAR"}

Row = tuple[int, bytes, bytes]  # the time in microseconds since the epoch, the key and the value of a record


@dataclass(frozen=True)
class Summary:
    """What a recording holds. Times are in microseconds since the epoch; 0 where there is no record."""

    rows: int = 0
    records: int = 0
    entities: int = 0
    first: int = 0
    last: int = 0
    out_of_range: Mapping[str, int] = field(default_factory=dict)  # values by signal, and times before the earliest one
    problems: list[Problem] = field(default_factory=list)
    unused_columns: list[str] = field(default_factory=list)


class Recording:
    """The files of a recording, mapped to the contract. `folder` is where DuckDB puts what exceeds its memory.

    The methods raise BadRecording, or NoRoom when the disk is full.
    """

    def __init__(self, pattern: str, mapping: str, schema: Mapping[str, Any], folder: Path) -> None:
        """Read the mapping and find the files. Raises OSError if there can be no folder."""
        self._schema, self.folder = schema, folder
        self._all_signals = signals(schema)
        self._mapping = read_mapping(mapping, self._all_signals)
        self.names = find_files(pattern)
        self.parts = parts(self.names)
        self._columns = Columns([], {})
        self._connection: duckdb.DuckDBPyConnection | None = None
        shutil.rmtree(folder, ignore_errors=True)  # what a killed replay has left
        folder.mkdir(parents=True)

    def read(self, with_seq: bool = True, memory_limit: str = MEMORY_LIMIT) -> Summary:
        """Read the files, sort their records and return what they hold."""
        with self._errors():
            # DuckDB downloads no extension: those that this needs are in its package.
            self._connection = duckdb.connect(
                str(self.folder / "recording.duckdb"),
                config={
                    "memory_limit": memory_limit,
                    "threads": THREADS,
                    "temp_directory": str(self.folder / "temp"),
                    "autoinstall_known_extensions": "false",
                    "autoload_known_extensions": "false",
                },
            )
            self._execute("SET TimeZone = 'UTC'")
            self.parts = [self._with_columns(part) for part in self.parts]
            self._check_time()
            self._columns = self._chosen_columns(() if with_seq else ("seq",))
            wanted = self._wanted()
            sources = [query.source(part, wanted) for part in self.parts]
            self._execute(query.rows(sources, self._mapping, self._columns))
            self._execute(query.records(self._columns, self._mapping.long))
            summary = self._summary(set(wanted.values()))
            self._execute("DROP TABLE rows")
            return summary

    def first(self, number: int, shift: int) -> list[Row]:
        """The first records as they would be sent."""
        with self._errors():
            return list(self._execute(query.in_order(self._columns, shift, number)).fetchall())

    def blocks(self, shift: int) -> Iterator[list[Row]]:
        """All records in order of time, with their times shifted by `shift` microseconds."""
        with self._errors():
            result = self._execute(query.in_order(self._columns, shift))
            while block := result.fetchmany(BLOCK):
                yield block

    def progress(self) -> float:
        """How much of what DuckDB does at present is done, in percent; -1 where it can't tell. For another thread."""
        return self._connection.query_progress() if self._connection else -1

    def close(self) -> None:
        """Remove what is on the disk."""
        if self._connection:
            self._connection.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _execute(self, sql: str) -> duckdb.DuckDBPyConnection:
        assert self._connection
        return self._connection.execute(sql)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except duckdb.Error as error:
            # An error of writing names the file, whatever class it has.
            if isinstance(error, duckdb.OutOfMemoryException) or str(self.folder) in str(error):
                raise NoRoom(
                    f"The recording can't be sorted in {self.folder} ({_first_line(error)}): free disk space there, or"
                    " set GENERATOR_STATE_FILE to a path on a larger disk."
                ) from error
            raise BadRecording(f"{self.names[0]} can't be read as a recording: {_first_line(error)}") from error

    def _with_columns(self, part: Part) -> Part:
        if part.kind == CSV:
            return part
        if part.kind == JSON:
            keys: dict[str, None] = {}
            for path in part.paths:
                for line in first_lines(path, LOOKED_AT):
                    keys.update(dict.fromkeys(_keys(line)))
            return replace(part, columns=tuple(keys))
        try:
            described = self._execute(f"DESCRIBE SELECT * FROM {query.parquet(part.paths)}").fetchall()
        except duckdb.Error as error:
            raise BadRecording(f"{part.paths[0]} can't be read as {PARQUET}: {_first_line(error)}") from None
        return replace(part, columns=tuple(name for name, *_ in described if name != "__file"))

    def _check_time(self) -> None:
        """Raises BadRecording for a zone or a format that DuckDB doesn't know."""
        zone, known = self._mapping.zone, (ISO, SECONDS, MILLISECONDS)
        zones = [name for (name,) in self._execute("SELECT name FROM pg_timezone_names()").fetchall()]
        if zone and zone not in zones:
            close = nearest(zone, zones)
            hint = close if "mean" in close else 'it must be a name such as "Europe/Berlin" or "UTC".'
            raise BadRecording(f"zone of [time] in the mapping {self._mapping.path} is {zone!r}: {hint}")
        if self._mapping.time_format not in known:
            try:
                self._execute(f"SELECT try_strptime('', {query.literal(self._mapping.time_format)})")
            except duckdb.Error as error:
                raise BadRecording(
                    f"format of [time] in the mapping {self._mapping.path} is {self._mapping.time_format!r}:"
                    f" {_first_line(error).split(': ', 1)[-1]}."
                ) from None

    def _chosen_columns(self, without: Collection[str]) -> Columns:
        """The signals and other fields that the files have. Raises BadRecording for a column that is missing."""
        mapping, found = self._mapping, list(dict.fromkeys(name for part in self.parts for name in part.columns))
        needed = [mapping.time, mapping.entity, *((mapping.long.signal, mapping.long.value) if mapping.long else ())]
        for part in self.parts:
            for name in needed:
                if name not in part.columns:
                    raise BadRecording(f"{part.paths[0]} has no column {name!r}: {nearest(name, part.columns)}")
        if mapping.long:
            return Columns(mapping.signals, {})
        present = [each for each in mapping.signals if each.source in found]
        for each in mapping.signals:
            if mapping.all_needed and each not in present:
                raise BadRecording(
                    f"{mapping} names the column {each.source!r}, which the recording doesn't have:"
                    f" {nearest(each.source, found)}"
                )
        if not present:
            raise BadRecording(
                f"{self.names[0]} has no column of a signal ({', '.join(each.name for each in self._all_signals)}), but"
                f" {', '.join(found)}: name the columns in a mapping (REPLAY_MAP)."
            )
        types = {name: _sql_type(entry) for name, entry in self._schema["properties"].items()}
        return Columns(
            present, {name: kind for name, kind in types.items() if kind and name in found and name not in without}
        )

    def _wanted(self) -> dict[str, str]:
        """The columns to read, by the aliases that query.py has for them."""
        mapping = self._mapping
        wanted = {"time": mapping.time, "entity": mapping.entity}
        if mapping.long:
            return wanted | {"signal": mapping.long.signal, "value": mapping.long.value}
        return (
            wanted
            | {each.signal.name: each.source for each in self._columns.signals}
            | {name: name for name in self._columns.extras}
        )

    def _summary(self, used: set[str]) -> Summary:
        found = self._execute(query.summary(self._columns, earliest(self._schema))).fetchone()
        rows = self._execute("SELECT count(*) FILTER (NOT blank) FROM rows").fetchone()
        assert found and rows
        number, entities, repeated, first, last, *outside = found
        names = ["time", *(each.signal.name for each in self._columns.signals)]
        refused = self._refused()
        with_header = [path for part in self.parts if part.kind == CSV for path in part.paths]
        problems = not_mapped(self._execute(query.problems(EXAMPLES)).fetchall(), refused, with_header)
        if repeated:
            problems.append(self._repeated(repeated))
        columns = dict.fromkeys(name for part in self.parts for name in part.columns)
        return Summary(
            rows=rows[0] + sum(map(len, refused.values())),
            records=number,
            entities=entities,
            first=first or 0,
            last=last or 0,
            out_of_range={name: count for name, count in zip(names, outside, strict=True) if count},
            problems=problems + not_read(refused),
            unused_columns=[name for name in columns if name not in used],
        )

    def _refused(self) -> Refused:
        if not any(part.kind in (CSV, JSON) for part in self.parts):
            return {}
        found: Refused = {}
        for path, line, error, content in self._execute(query.REFUSED).fetchall():
            found.setdefault(path, []).append((line, error, content))
        return found

    def _repeated(self, number: int) -> Problem:
        found = self._execute(
            "SELECT entity, strftime(make_timestamp(us), '%Y-%m-%dT%H:%M:%S.%gZ') FROM records WHERE repeated > 0"
            f" ORDER BY us, entity LIMIT {EXAMPLES}"
        ).fetchall()
        kind = f"{query.REPEATED} at one time, of which the last counts"
        return Problem(kind, number, [f"entity {entity} at {time}" for entity, time in found])


def earliest(schema: Mapping[str, Any]) -> int:
    """The earliest time that the contract allows, in microseconds since the epoch."""
    return int(datetime.fromisoformat(schema["properties"]["time"]["x-earliest"]).timestamp()) * 1_000_000


def _sql_type(entry: Mapping[str, Any]) -> str | None:
    return SQL_TYPES.get(str(entry.get("x-type")))


def _keys(line: str) -> list[str]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return []
    return list(found) if isinstance(found, dict) else []


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0].strip()
