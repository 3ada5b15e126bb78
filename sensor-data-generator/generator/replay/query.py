"""The SQL with which DuckDB reads a recording and builds its records. Pure: no files, no data.

Every value is read as text first, so a value that can't be mapped is shown as it is in the file. The table `rows` has
a row for each row of the files: its time in microseconds since the epoch (us), its entity and its signals, each NULL
where it is missing or can't be mapped, and its problems. The table `records` has a row for each record to send.
"""

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from generator.replay.files import CSV, JSON, Part
from generator.replay.mapping import ISO, MILLISECONDS, SECONDS, Long, MappedSignal, RecordingMapping

# Between two problems of a row, and between the kind of a problem and the value
BETWEEN, WITHIN = "\x1f", "\x1e"
SHOWN = 80  # characters of a value in a message
# A time with a zone: Z or an offset behind hours and minutes
ZONED = r":[0-9]{2}.*(Z|z|[+-][0-9]{2}(:?[0-9]{2})?)$"

# The years 1 to 9999, which ISO 8601 and Python have. Milliseconds that are taken for seconds are later.
YEARS = "-62135596800000000 AND 253402300799999999"

NO_TIME, BAD_TIME, NO_ZONE = "no time", "a time that can't be read", "a time without a zone"
NO_ENTITY, NO_SIGNAL, NOT_JSON = "no entity", "no value of a signal", "a line that is not JSON"
NOT_MAPPED, REPEATED = "a signal that is not mapped", "more than one value of a signal"


@dataclass(frozen=True)
class Columns:
    """The columns of `rows` and `records` beside time and entity."""

    signals: Sequence[MappedSignal]
    extras: Mapping[str, str]  # other fields of the contract, and their SQL types

    @property
    def names(self) -> list[str]:
        return [*(each.signal.name for each in self.signals), *self.extras]


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def files(paths: Sequence[str]) -> str:
    """The paths as a list; DuckDB takes them for patterns."""
    return "[" + ", ".join(literal(glob.escape(path)) for path in paths) + "]"


def parquet(paths: Sequence[str]) -> str:
    return f"read_parquet({files(paths)}, union_by_name = true, filename = '__file')"


def source(part: Part, wanted: Mapping[str, str]) -> str:
    """SQL for the columns of a part as text: file, row, and each of `wanted`, by its alias with t_ before it.

    row counts the rows of the part, so a file's own count begins at its smallest. bad is a line that is not JSON, and
    blank tells an empty line from that.
    """
    if part.kind == JSON:
        columns, read = _json_lines(part, wanted)
        bad, blank = "CASE WHEN found IS NULL THEN line END", "coalesce(trim(line), '') = ''"
    else:
        names, read = _csv(part) if part.kind == CSV else _parquet(part)
        columns = {alias: names.get(column, "NULL") for alias, column in wanted.items()}
        bad, blank = "CAST(NULL AS VARCHAR)", "false"
    texts = ", ".join(f"CAST({column} AS VARCHAR) AS t_{alias}" for alias, column in columns.items())
    return f"SELECT __file AS file, row_number() OVER () AS row, {texts}, {bad} AS bad, {blank} AS blank FROM {read}"


def _csv(part: Part) -> tuple[dict[str, str], str]:
    """The SQL names of the columns, and SQL that reads them; DuckDB doesn't tell upper from lower case in names."""
    names = {column: f"c{number}" for number, column in enumerate(part.columns)}
    columns = ", ".join(f"{name}: 'VARCHAR'" for name in names.values())
    return names, (
        f"read_csv({files(part.paths)}, auto_detect = false, header = true, delim = {literal(part.delimiter)},"
        f" quote = '\"', escape = '\"', columns = {{{columns}}}, filename = '__file', store_rejects = true)"
    )


def _json_lines(part: Part, wanted: Mapping[str, str]) -> tuple[dict[str, str], str]:
    """SQL for each of `wanted`, and SQL that reads a text per line. A reader of JSON would leave bad lines out."""
    pointers = ", ".join(literal(f"/{column.replace('~', '~0').replace('/', '~1')}") for column in wanted.values())
    return {alias: f"found[{number}]" for number, alias in enumerate(wanted, start=1)}, (
        f"(SELECT __file, line, TRY(json_extract_string(line, [{pointers}])) AS found FROM read_csv("
        f"{files(part.paths)}, auto_detect = false, header = false, delim = '\x01', quote = '', escape = '',"
        " columns = {line: 'VARCHAR'}, filename = '__file', store_rejects = true))"
    )


def _parquet(part: Part) -> tuple[dict[str, str], str]:
    return {column: identifier(column) for column in part.columns}, parquet(part.paths)


def time_in_us(mapping: RecordingMapping, text: str) -> str:
    """SQL for the time in microseconds since the epoch, NULL if it can't be read."""
    factor = {SECONDS: 1_000_000, MILLISECONDS: 1000}.get(mapping.time_format)
    if factor:
        return f"TRY_CAST(round(TRY_CAST({text} AS DOUBLE) * {factor}) AS BIGINT)"
    if mapping.time_format != ISO:
        parsed = f"try_strptime({text}, {literal(mapping.time_format)})"
        return f"epoch_us({parsed if mapping.has_zone else _in_zone(mapping.zone, parsed)})"
    local = f"epoch_us({_in_zone(mapping.zone, f'TRY_CAST({text} AS TIMESTAMP)')})" if mapping.zone else "NULL"
    zoned = f"epoch_us(TRY_CAST({text} AS TIMESTAMPTZ))"
    return f"CASE WHEN regexp_matches({text}, {literal(ZONED)}) THEN {zoned} ELSE {local} END"


def rows(sources: Sequence[str], mapping: RecordingMapping, columns: Columns) -> str:
    """SQL that creates `rows`."""
    bad_time = literal(BAD_TIME)
    if mapping.time_format == ISO and not mapping.zone:
        bad_time = f"CASE WHEN TRY_CAST(t_time AS TIMESTAMP) IS NULL THEN {bad_time} ELSE {literal(NO_ZONE)} END"
    problems = [
        _problem("bad IS NOT NULL AND NOT blank", literal(NOT_JSON), "bad"),
        _problem("bad IS NULL AND NOT blank AND coalesce(trim(t_time), '') = ''", literal(NO_TIME), "''"),
        _problem("us IS NULL AND trim(t_time) <> ''", bad_time, "t_time"),
        _problem("bad IS NULL AND NOT blank AND entity IS NULL", literal(NO_ENTITY), "''"),
    ]
    if mapping.long:
        values, more = _long_values(columns.signals)
        kept = "signal, value"
    else:
        values, more = _wide_values(columns)
        kept = ", ".join(map(identifier, columns.names))
    entity = (
        "CASE WHEN regexp_full_match(t_entity, '-?[0-9]+[.]0+') THEN split_part(t_entity, '.', 1) ELSE t_entity END"
    )
    return (
        f"CREATE TABLE rows AS WITH texts AS ({' UNION ALL '.join(f'({each})' for each in sources)}),"
        f" timed AS (SELECT *, {time_in_us(mapping, 't_time')} AS any_us FROM texts),"
        f" typed AS (SELECT *, CASE WHEN any_us BETWEEN {YEARS} THEN any_us END AS us, nullif({entity}, '') AS entity,"
        f" {values} FROM timed)"
        f" SELECT file, row, us, entity, {kept},"
        f" nullif(concat_ws({literal(BETWEEN)}, {', '.join([*problems, *more])}), '') AS problems, blank FROM typed"
    )


def _wide_values(columns: Columns) -> tuple[str, list[str]]:
    """The typed columns, and the problems of their values."""
    values, problems = [], []
    for each in columns.signals:
        name = each.signal.name
        values.append(f"{_number(f't_{name}', each)} AS {identifier(name)}")
        problems.append(_bad_value(identifier(name), f"t_{name}", _not_a_number(literal(name))))
    for name, kind in columns.extras.items():
        values.append(f"TRY_CAST(t_{name} AS {kind}) AS {identifier(name)}")
        problems.append(_bad_value(identifier(name), f"t_{name}", literal(f"a {name} that is no {kind.lower()}")))
    texts = ", ".join(f"trim(t_{each.signal.name})" for each in columns.signals)
    problems.append(_problem(f"bad IS NULL AND NOT blank AND concat({texts}) = ''", literal(NO_SIGNAL), "''"))
    return ", ".join(values), problems


def _long_values(signals: Sequence[MappedSignal]) -> tuple[str, list[str]]:
    names = " ".join(f"WHEN {literal(each.source)} THEN {literal(each.signal.name)}" for each in signals)
    numbers = " ".join(f"WHEN {literal(each.source)} THEN {_number('t_value', each)}" for each in signals)
    values = f"CASE t_signal {names} END AS signal, CASE t_signal {numbers} END AS value"
    return values, [
        _problem("signal IS NULL AND bad IS NULL AND NOT blank", literal(NOT_MAPPED), "t_signal"),
        _problem("signal IS NOT NULL AND coalesce(trim(t_value), '') = ''", literal(NO_SIGNAL), "''"),
        _problem("signal IS NOT NULL AND value IS NULL AND trim(t_value) <> ''", _not_a_number("signal"), "t_value"),
    ]


def records(columns: Columns, long: Long | None) -> str:
    """SQL that creates `records`, with one row for each time and entity of a long recording.

    Its rows are in the order in which they are sent: by time, and among those of one time by their content alone, so
    that the order doesn't depend on the files.
    """
    names = [identifier(name) for name in columns.names]
    order = f" ORDER BY us, entity, {', '.join(names)}"
    sendable = "us IS NOT NULL AND entity IS NOT NULL"
    if not long:
        any_signal = f"coalesce({', '.join(identifier(each.signal.name) for each in columns.signals)}) IS NOT NULL"
        return (
            f"CREATE TABLE records AS SELECT us, entity, {', '.join(names)}, 0 AS repeated FROM rows"
            f" WHERE {sendable} AND {any_signal}{order}"
        )
    signals = [each.signal.name for each in columns.signals]
    values = ", ".join(
        f"arg_max(value, place + row) FILTER (signal = {literal(name)}) AS {identifier(name)}" for name in signals
    )
    different = " + ".join(f"CAST(count(*) FILTER (signal = {literal(name)}) > 0 AS INTEGER)" for name in signals)
    # Each part numbers its own rows, so the last row is that of the last file.
    return (
        "CREATE TABLE records AS WITH places AS (SELECT file, row_number() OVER (ORDER BY file) * (1::BIGINT << 40)"
        " AS place FROM (SELECT DISTINCT file FROM rows))"
        f" SELECT us, entity, {values}, count(*) - ({different}) AS repeated FROM rows JOIN places USING (file)"
        f" WHERE {sendable} AND value IS NOT NULL GROUP BY us, entity{order}"
    )


def in_order(columns: Columns, shift: int, limit: int | None = None) -> str:
    """SQL for (us, key, value) of the records in their order, with their times shifted by `shift` microseconds."""
    time = f"make_timestamp(us + {shift})"
    iso = (
        f"CASE (us + {shift}) % 1000 WHEN 0 THEN strftime({time}, '%Y-%m-%dT%H:%M:%S.%gZ')"
        f" ELSE strftime({time}, '%Y-%m-%dT%H:%M:%S.%fZ') END"
    )
    # concat() leaves out what is NULL.
    fields = [_field(each.signal.name, identifier(each.signal.name)) for each in columns.signals]
    for name, kind in columns.extras.items():
        fields.append(_field(name, identifier(name) if kind == "BIGINT" else f"to_json({identifier(name)})"))
    value = f"concat('{{\"time\":\"', {iso}, '\",\"entity\":', to_json(entity), {', '.join(fields)}, '}}')"
    return (
        f"SELECT us + {shift}, encode(entity), encode({value}) FROM records{'' if limit is None else f' LIMIT {limit}'}"
    )


def summary(columns: Columns, earliest: int) -> str:
    """SQL for one row: the numbers of records, entities and repeated values, and the first and the last time.

    Then how many times are before `earliest`, and how many values of each signal are out of the contract's range.
    """
    outside = [
        f"count(*) FILTER ({identifier(each.signal.name)} NOT BETWEEN {each.signal.low} AND {each.signal.high})"
        for each in columns.signals
    ]
    return (
        "SELECT count(*), count(DISTINCT entity), coalesce(sum(repeated), 0)::BIGINT, min(us), max(us),"
        f" count(*) FILTER (us < {earliest}), {', '.join(outside)} FROM records"
    )


def problems(examples: int) -> str:
    """SQL for each kind of problem, how many rows have it, and the first of them as (file, line, value).

    line counts a file's rows from 1, without those that read_csv refused.
    """
    return (
        "WITH starts AS (SELECT file, min(row) AS first FROM rows GROUP BY file),"
        f" each AS (SELECT file, row - first + 1 AS line, unnest(string_split(problems, {literal(BETWEEN)})) AS problem"
        " FROM rows JOIN starts USING (file) WHERE problems IS NOT NULL),"
        f" cut AS (SELECT file, line, split_part(problem, {literal(WITHIN)}, 1) AS kind,"
        f" split_part(problem, {literal(WITHIN)}, 2) AS text FROM each)"
        f" SELECT kind, count(*), min_by([file, CAST(line AS VARCHAR), text], (file, line), {examples})"
        " FROM cut GROUP BY kind ORDER BY kind"
    )


REFUSED = (
    "SELECT file_path, line, first(error_type), left(first(csv_line), 80) FROM reject_errors JOIN reject_scans"
    " USING (scan_id, file_id) GROUP BY file_path, line ORDER BY file_path, line"
)


def _number(text: str, mapped: MappedSignal) -> str:
    """SQL for a text as a number in the contract's unit, NULL if it is no finite one."""
    number = f"TRY_CAST({text} AS DOUBLE)"
    return f"CASE WHEN isfinite({number}) THEN {mapped.conversion.format(number)} END"


def _not_a_number(signal: str) -> str:
    return f"'a value of ' || {signal} || ' that is not a number'"


def _bad_value(value: str, text: str, kind: str) -> str:
    return _problem(f"{value} IS NULL AND trim({text}) <> ''", kind, text)


def _problem(condition: str, kind: str, text: str) -> str:
    """SQL for a problem and the value that has it, NULL where the condition doesn't hold."""
    return f"CASE WHEN {condition} THEN {kind} || {literal(WITHIN)} || left(coalesce({text}, ''), {SHOWN}) END"


def _in_zone(zone: str | None, local: str) -> str:
    return f"timezone({literal(zone or '')}, {local})"


def _field(name: str, value: str) -> str:
    return f"{literal(f',{chr(34)}{name}{chr(34)}:')} || {value}"
