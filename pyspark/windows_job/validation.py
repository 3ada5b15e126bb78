"""Validation: which records of the raw topic are readings, and what is written of those that are not.

The form of a reading is in schemas/sensor-data-raw.schema.json. Druid's filter of sensor-data-raw, which is rendered
from the same schema, accepts the same records.
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from windows_job.faults import entity_fault, faults, no_json, range_fault, time_fault
from windows_job.json_text import JSON, NO_LIMIT, json_text, single_value, without_repeats
from windows_job.reading import ENTITY, MARKER, Form

LONGEST_PLAIN = 4096  # bytes of a plain record
WRONG_TYPE = "_wrong_type"  # what from_json sets in a record with a value that is not of its field's type

# What is kept of a rejected record: a larger one would not fit into a record of Kafka.
KEPT_BYTES = 1024 * 1024
SHOWN_CHARACTERS = 1000

BATCH = "batch"  # the name of the observation of a batch, see readings()

WHOLE = "^(0|-?[1-9][0-9]{0,18})$"

LARGEST_EXACT = 2**53  # among the whole numbers that Druid reads as doubles because they are written with a fraction


def parse(raw: DataFrame, form: Form, control_topic: str) -> DataFrame:
    """Records of Kafka with the fields of `form`, `time` as a timestamp, and `valid`: whether it is a reading.

    `raw` has the columns of Spark's Kafka source. The columns ENTITY stand for the entity, see entity(), and `size` is
    the number of the value's bytes. A marker of the control topic counts as a reading of the vehicle MARKER. The
    other columns are for with_reason() and late().
    """
    value, plain, text, reading = (F.col(name) for name in ("value", "plain", "text", "reading"))
    others = [name for name in form.fields if name not in ("time", *(signal.name for signal in form.signals))]
    # A variant keeps apart 7, "7", 7.5 and true, so WRONG_TYPE is set by a signal only: a text takes any value.
    types = {**form.fields, **dict.fromkeys(others, "VARIANT"), WRONG_TYPE: "STRING"}
    schema = ", ".join(f"{name} {kind}" for name, kind in types.items())
    options = JSON | {"columnNameOfCorruptRecord": WRONG_TYPE}
    # In steps, so that nothing is computed twice. Plain records are complete before from_json: there Spark's generated
    # code ends, and every column is copied. So there is one step with it, and what goes through it is small: the size
    # instead of the value, and whether it is the control topic instead of the topic.
    string = value.cast("string")
    short = F.octet_length(value) <= LONGEST_PLAIN  # a large record takes long to search
    plain_or_not = F.coalesce(short & string.rlike(form.plain_pattern), F.lit(False))
    is_control = F.col("topic") == control_topic
    seen = raw.select(
        "*", F.octet_length(value).alias("size"), is_control.alias("is_control"), plain_or_not.alias("plain")
    )
    split = seen.select("*", F.when(plain, F.split(string, ",")).alias("parts"))
    places = _at_their_places(form)
    placed = split.select("*", *(F.when(plain, column).alias(f"plain_{name}") for name, column in places.items()))
    texts = placed.select("*", F.when(F.col("plain_time").isNull(), json_text(value)).alias("text"))
    read = texts.select(
        "*",
        F.when(text.isNotNull(), _judged(F.from_json(without_repeats(text), schema, options), form)).alias("json"),
        F.when(text.isNotNull(), single_value(text)).alias("single"),
    ).select("*", "json.*")
    time = F.when(reading["time"].rlike(form.time_pattern), reading["time"].try_cast("timestamp"))
    read = read.withColumn("json_entity", F.when(text.isNotNull(), _entity(reading["entity"])))
    json_entity = F.col("json_entity")
    number = F.when(json_entity.rlike(WHOLE), json_entity.try_cast("bigint"))
    of_json = {signal.name: reading[signal.name] for signal in form.signals} | {"time": time}
    of_json |= {name: _whole_number(reading[name], form.fields[name]) for name in others if name != "entity"}
    of_json |= dict(zip(ENTITY, (number, F.when(number.isNull(), json_entity)), strict=True))
    parsed = read.select(
        "*",
        *(
            (F.coalesce(f"plain_{name}", column) if name in places else column).alias(name)
            for name, column in of_json.items()
        ),
    )
    judged = parsed.withColumn("valid", _valid(form))
    return judged.drop("plain", "parts", "json", "json_entity", *(f"plain_{name}" for name in places))


def _entity(value: Column) -> Column:
    """The entity as a string, null where it is neither a text nor a whole number: 7, 7.0 and "7" are one vehicle."""
    kind = F.schema_of_variant(value)
    number = F.try_variant_get(value, "$", "double")
    whole = (number == F.floor(number)) & (F.abs(number) <= LARGEST_EXACT)
    return (
        F.when(kind.isin("STRING", "BIGINT"), F.try_variant_get(value, "$", "string"))
        .when(kind.rlike("^(DECIMAL|DOUBLE)") & whole, number.cast("bigint").cast("string"))
    )  # fmt: skip


def _judged(json: Column, form: Form) -> Column:
    """A struct of `reading`, which is `json`, and `signals_valid`: whether it has signals, and all of them are valid.

    The ranges of those that a plain record has are left to _valid(). Computed beside from_json, outside of the code
    that Spark generates for every record, which would grow with every signal. A lambda gives `json` a name: otherwise,
    from_json would run once for each use.
    """

    def judge(reading: Column) -> Column:
        numbers = {signal.name: reading[signal.name] for signal in form.signals}
        valid = reading[WRONG_TYPE].isNull() & F.coalesce(*numbers.values()).isNotNull()
        for signal in form.signals:
            if signal.name not in form.plain:
                valid &= range_fault(signal, numbers[signal.name]).isNull()
            if not signal.optional:
                valid &= numbers[signal.name].isNotNull()
        return F.struct(reading.alias("reading"), valid.alias("signals_valid"))

    return F.transform(F.array(json), judge)[0]


def _whole_number(value: Column, kind: str) -> Column:
    """A whole number of a variant, null where it is anything else."""
    return F.when(F.schema_of_variant(value) == "BIGINT", F.try_variant_get(value, "$", kind))


def _at_their_places(form: Form) -> dict[str, Column]:
    """The fields of a plain record, of which `parts` are what stands between its commas; `time` as a timestamp."""
    # Substrings of bytes, as a plain record is ASCII: in a string Spark counts the characters one by one.
    # The time without its Z: times without a zone are UTC here, and to parse a zone takes as long as to parse the rest.
    start, length = len('{"time":"'), len("2026-01-01T00:00:00.000")
    found = {"time": F.substring("value", start + 1, length).cast("string").try_cast("timestamp")}
    places = {name: F.col("parts")[number] for number, name in enumerate(form.plain) if name in form.fields}
    for name, part in places.items():
        first = len(f'"{name}":') + 1
        field = F.substring(part.cast("binary"), first, NO_LIMIT).cast("string")
        if name == "entity":
            inside = F.substring(part.cast("binary"), F.lit(first + 1), F.octet_length(part) - first - 1)
            is_text = part.startswith(f'"{name}":"')
            # For each text, try_cast would throw and catch an exception, which takes 4 µs.
            number = F.when(~is_text, field.try_cast("bigint"))
            found |= dict(zip(ENTITY, (number, F.when(is_text, inside.cast("string"))), strict=True))
        elif name != "time":
            found[name] = field.cast(form.fields[name])
    return found


def with_reason(parsed: DataFrame, form: Form) -> DataFrame:
    """The records of parse() with `reason`: all conditions of a reading that a record fails, in words; null if valid.

    Apart from parse(), as each batch of the stream would spend time on planning it.
    """
    reason = F.coalesce(no_json(form), F.when(~F.col("valid"), F.concat_ws("; ", *faults(form))))
    return parsed.withColumn("reason", reason)


def _valid(form: Form) -> Column:
    """Whether a record has none of the faults that with_reason() names, in fewer steps."""
    text = F.col("text")
    valid = F.when(text.isNull(), True).otherwise(F.is_valid_utf8(text) & F.col("single") & F.col("signals_valid"))
    ranges = (range_fault(signal, F.col(signal.name)) for signal in form.signals if signal.name in form.plain)
    for fault in (time_fault(form), entity_fault(form), *ranges):
        valid &= fault.isNull()
    return valid


def fields(parsed: DataFrame, form: Form) -> DataFrame:
    """The records of parse() with their fields, as aggregate() needs them: all of them, of which some are invalid.

    `time` and `clock` are timestamps: the event time, and the event time but at most Kafka's timestamp. Both are the
    epoch in invalid records, which have a `rejected_size`.
    """
    # A row is copied several times on its way into a group, so it has nothing more than this.
    valid, names = F.col("valid"), [name for name in form.fields if name not in ("time", "entity")]
    time = F.when(valid, F.col("time")).otherwise(F.timestamp_seconds(F.lit(0)))
    size = F.when(~valid, F.coalesce("size", F.lit(0)))
    timed = parsed.select(*names, *ENTITY, "timestamp", time.alias("time"), size.alias("rejected_size"))
    return timed.withColumn("clock", F.least("time", "timestamp")).drop("timestamp")


def readings(records: DataFrame) -> DataFrame:
    """Those of fields(), with whatever else was added to them, that are valid and a vehicle's.

    The observation BATCH has, for the records of a batch, `readings` (the number of these), their `earliest` and
    `newest` event time (microseconds since the epoch; null where there is none), and `rejected` and `rejected_bytes` of
    the invalid ones. Markers count in none.
    """
    # By the clock: the column of a watermark that nothing used later would cost a copy of every row, without it.
    kept = (F.unix_seconds("clock") > 0) & is_vehicle()
    micros = F.when(kept, F.unix_micros("time"))
    counted = records.observe(
        BATCH,
        F.count(micros).alias("readings"),
        F.min(micros).alias("earliest"),
        F.max(micros).alias("newest"),
        F.count("rejected_size").alias("rejected"),
        F.coalesce(F.sum("rejected_size"), F.lit(0)).alias("rejected_bytes"),
    )
    return counted.where(kept)


def is_vehicle() -> Column:
    """Whether a valid record is a vehicle's, not a marker."""
    return F.col("entity_text").isNull() | (F.col("entity_text") != MARKER)


def entity() -> Column:
    """The entity as a string. An empty text counts as null: of a number, aggregate() has one."""
    number, text = (F.col(name) for name in ENTITY)
    return F.coalesce(F.nullif(text, F.lit("")), number.cast("string")).alias("entity")


def rejected(parsed: DataFrame, form: Form) -> DataFrame:
    """The invalid records of parse() as records of the rejected topic: `key` and `value` (JSON), both strings.

    The fields are in schemas/sensor-data-rejected.schema.json.
    """
    value = F.col("value")
    record = F.struct(
        iso("timestamp").alias("time"),
        "partition",
        "offset",
        "reason",
        "size",
        F.make_valid_utf8(F.substring("key", 1, SHOWN_CHARACTERS).cast("string")).alias("key"),
        F.make_valid_utf8(F.substring(value, 1, SHOWN_CHARACTERS).cast("string")).alias("value"),
        F.base64(F.substring(value, 1, KEPT_BYTES)).alias("value_base64"),
    )
    key = F.concat_ws("/", "partition", "offset")
    return with_reason(parsed.where(~F.col("valid")), form).select(
        key.alias("key"), F.to_json(record, {"ignoreNullFields": "false"}).alias("value")
    )


def iso(timestamp: Column | str) -> Column:
    """A timestamp in ISO 8601, UTC, milliseconds."""
    return F.date_format(timestamp, "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'")
