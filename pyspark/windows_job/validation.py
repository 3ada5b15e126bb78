"""Validation: which records of the raw topic are readings, and what is written of those that are not.

The form of a reading is in schemas/sensor-data-raw.schema.json. Druid's filter of sensor-data-raw, which is rendered
from the same schema, accepts the same records.
"""

from functools import reduce
from operator import or_

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from service.contract import Signal

from windows_job.reading import MARKER, Form

NO_LIMIT = 2**31 - 1
LONGEST_PLAIN = 4096  # bytes of a plain record
# Strict JSON; and, as in Druid, no limit to the depth or length of fields that are not used.
JSON = {"allowNonNumericNumbers": "false", "allowSingleQuotes": "false"} | dict.fromkeys(
    ["maxNestingDepth", "maxNumLen", "maxStringLen"], str(NO_LIMIT)
)

# What is kept of a rejected record: a larger one would not fit into a record of Kafka.
KEPT_BYTES = 1024 * 1024
SHOWN_CHARACTERS = 1000

BATCH = "batch"  # the name of the observation of a batch, see readings()

INFINITE = ("Infinity", "-Infinity")  # what Druid makes of a number that is too large for a double
LARGEST_EXACT = 2**53  # among the whole numbers that Druid reads as doubles because they are written with a fraction


def parse(raw: DataFrame, form: Form, control_topic: str) -> DataFrame:
    """Records of Kafka with the fields of `form`, `time` as a timestamp, and `reason`: why it is invalid, or null.

    `raw` has the columns of Spark's Kafka source. `entity` is a string. A marker of the control topic counts as a
    reading of the vehicle MARKER. `reason` names all faults of a record.
    """
    value, plain, text, reading = (F.col(name) for name in ("value", "plain", "text", "reading"))
    types = {**form.fields, "entity": "VARIANT"}  # which keeps apart 7, "7", 7.5 and true
    schema = ", ".join(f"{name} {kind}" for name, kind in types.items())
    # In steps, so that nothing is computed twice. Plain records are complete before from_json: there Spark's generated
    # code ends, and every column is copied.
    string = value.cast("string")
    short = F.octet_length(value) <= LONGEST_PLAIN  # a large record takes long to search
    seen = raw.select("*", F.coalesce(short & string.rlike(form.plain_pattern), F.lit(False)).alias("plain"))
    split = seen.select("*", F.when(plain, F.split(string, ",")).alias("parts"))
    placed = split.select(
        "*", *(F.when(plain, _at_its_place(form, name)).alias(f"plain_{name}") for name in form.fields)
    )
    texts = placed.select("*", F.when(F.col("plain_time").isNull(), _text(value)).alias("text"))
    read = texts.select(
        "*",
        F.when(text.isNotNull(), F.from_json(_without_repeats(text), schema, JSON)).alias("reading"),
    )
    has_field = reduce(or_, (reading[name].isNotNull() for name in form.fields))
    read = read.select("*", F.when(has_field, _single_value(text)).alias("single"))
    time = F.when(reading["time"].rlike(form.time_pattern), reading["time"].try_cast("timestamp"))
    of_json = {name: reading[name] for name in form.fields} | {"time": time, "entity": _entity(reading["entity"])}
    parsed = read.select("*", *(F.coalesce(f"plain_{name}", of_json[name]).alias(name) for name in form.fields))
    judged = parsed.withColumn("reason", _reason(form, control_topic))
    return judged.drop("plain", "parts", "reading", "single", *(f"plain_{name}" for name in form.fields))


def _entity(value: Column) -> Column:
    """The entity as a string, null where it is neither a text nor a whole number: 7, 7.0 and "7" are one vehicle."""
    kind = F.schema_of_variant(value)
    number = F.try_variant_get(value, "$", "double")
    whole = (number == F.floor(number)) & (F.abs(number) <= LARGEST_EXACT)
    return (
        F.when(kind.isin("STRING", "BIGINT"), F.try_variant_get(value, "$", "string"))
        .when(kind.rlike("^(DECIMAL|DOUBLE)") & whole, number.cast("bigint").cast("string"))
    )  # fmt: skip


def _at_its_place(form: Form, name: str) -> Column:
    """A field of a plain record, of which `parts` are what stands between its commas; `time` as a timestamp."""
    # Substrings of bytes, as a plain record is ASCII: in a string Spark counts the characters one by one.
    if name == "time":
        # Without the Z, which adds nothing, as times without a zone are UTC here; a zone takes as long to read as the
        # rest.
        start, length = len('{"time":"'), len("2026-01-01T00:00:00.000")
        return F.substring("value", start + 1, length).cast("string").try_cast("timestamp")
    part = F.col("parts")[list(form.plain).index(name)].cast("binary")
    field = F.substring(part, len(f'"{name}":') + 1, NO_LIMIT).cast("string")
    if name == "entity":
        return F.when(field.startswith('"'), field.substr(F.lit(2), F.length(field) - 2)).otherwise(field)
    return field.cast(form.fields[name])


def _reason(form: Form, control_topic: str) -> Column:
    """The conditions of a reading that a record fails, in words, joined by semicolons; null where it meets all."""
    text, reading = F.col("text"), F.col("reading")
    required = [signal.name for signal in form.signals if not signal.optional]
    nothing = F.coalesce(
        reading["time"], *(F.col(name).cast("string") for name in ("entity", *required))
    ).isNull() & reading["entity"].isNull()  # fmt: skip
    # What is no JSON has no fields to judge.
    no_json = (
        F.when(F.col("plain_time").isNotNull(), None)
        .when(nothing, "not a JSON object with the fields of a reading")
        .when(~F.is_valid_utf8(text), "not valid UTF-8")
        .when(~F.col("single"), "more than one JSON value")
    )
    faults = [_time_fault(form), _entity_fault(form, control_topic), *(_signal_fault(each) for each in form.signals)]
    # Of a valid record, which most are, no text is put together.
    none = F.lit(True)
    for fault in faults:
        none = none & fault.isNull()
    return F.coalesce(no_json, F.when(~none, F.concat_ws("; ", *faults)))


def _time_fault(form: Form) -> Column:
    text, time, kafka_time = F.col("reading.time"), F.unix_millis("time"), F.unix_millis("timestamp")
    earliest = F.unix_millis(F.lit(form.earliest).cast("timestamp"))
    without_zone = F.concat(text, F.lit("Z")).rlike(form.time_pattern)
    return (
        F.when(time < earliest, f"time is before {form.earliest[:4]}")
        .when(time > kafka_time + form.seconds_ahead * 1000,
              f"time is more than {form.seconds_ahead} seconds ahead of the broker's clock")
        .when(time.isNotNull(), None)
        .when(text.isNull(), "time is missing")
        .when(without_zone, "time has no zone: Z or an offset such as +02:00 must follow it")
        .otherwise("time is not a time in ISO 8601 such as 2026-11-25T10:00:00.000Z")
    )  # fmt: skip


def _entity_fault(form: Form, control_topic: str) -> Column:
    entity, value = F.col("entity"), F.col("reading.entity")
    is_marker = (entity == MARKER) & (F.col("topic") == control_topic)
    length = F.length(entity)
    return (
        F.when(entity.isNull() & (value.isNull() | F.is_variant_null(value)), "entity is missing")
        .when(entity.isNull(), "entity is neither a text nor a whole number of 64 bits")
        .when((length == 0) & ~is_marker, "entity is empty")
        .when(entity.isin(*INFINITE), "entity is a name that Druid can't tell from a number")
        .when(length > form.longest_entity, f"entity has more than {form.longest_entity} characters")
        .when((length > 0) & (F.col("topic") == control_topic), "not a marker of the windows job")
    )


def _signal_fault(signal: Signal) -> Column:
    number = F.col(signal.name)
    fault = F.when(
        ~number.between(signal.low, signal.high),
        f"{signal.name} is not in the range {signal.low} to {signal.high} {signal.unit}",
    )
    # from_json gives null for a value of another type too.
    value = F.get_json_object("text", f"$.{signal.name}")
    if not signal.optional:
        fault = fault.when(number.isNull() & value.isNull(), f"{signal.name} is missing")
    return fault.when(number.isNull() & value.isNotNull(), f"{signal.name} is not a number")


def _text(value: Column) -> Column:
    """The JSON text of a value. The first bytes tell encodings other than UTF-8, as in Druid's parser."""
    head = F.hex(F.substring(value, 1, 4))
    return (
        F.when(head.rlike("^(0000FEFF|FFFE0000|000000..)"), F.decode(value, "UTF-32"))
        .when(head.rlike("^..000000"), F.decode(F.concat(F.unhex(F.lit("FFFE0000")), value), "UTF-32"))
        .when(head.rlike("^(FEFF|FFFE|00..)"), F.decode(value, "UTF-16"))
        .when(head.rlike("^..00"), F.decode(value, "UTF-16LE"))
        .when(head.startswith("EFBBBF"), F.substring(value, 4, NO_LIMIT).cast("string"))
        .otherwise(value.cast("string"))
    )


def _single_value(text: Column) -> Column:
    """Whether nothing follows the JSON value that `text` begins with: from_json ignores what follows."""
    # Then the text is valid as the only item of an array and as the only value of an object.
    item = F.size(F.from_json(F.concat(F.lit("["), text, F.lit("]")), "ARRAY<STRUCT<entity: INT>>", JSON)) == 1
    value = F.from_json(F.concat(F.lit('{"value":'), text, F.lit("}")), "value STRUCT<entity: INT>", JSON)["value"]
    return F.coalesce(item & value.isNotNull(), F.lit(False))


def _without_repeats(text: Column) -> Column:
    """The text with the last of fields of one name only, as in Druid: from_json takes the last of the right type."""
    names = F.json_object_keys(text)
    once = F.coalesce(F.size(names) == F.size(F.array_distinct(names)), F.lit(True))
    return F.when(once, text).otherwise(F.coalesce(F.to_json(F.try_parse_json(text)), F.lit("{}")))


def readings(parsed: DataFrame, form: Form) -> DataFrame:
    """The valid records of parse() with the fields of `form` and `clock`, a timestamp that aggregate() needs.

    The observation BATCH has, for the records of a batch, `readings` (the number of the valid ones), their `earliest`
    and `newest` event time (microseconds since the epoch; null where there is none), and `rejected` and
    `rejected_bytes` of the others. Markers count in none.
    """
    # Only these columns pass the observation: Spark prunes none across it.
    reason, size = F.col("reason"), F.octet_length("value").alias("size")
    fields = parsed.select(*form.fields, F.least("time", "timestamp").alias("clock"), reason, size)
    time = F.when(reason.isNull() & (F.col("entity") != MARKER), F.unix_micros("time"))
    counted = fields.observe(
        BATCH,
        F.count(time).alias("readings"),
        F.min(time).alias("earliest"),
        F.max(time).alias("newest"),
        F.count(reason).alias("rejected"),
        F.coalesce(F.sum(F.when(reason.isNotNull(), F.col("size"))), F.lit(0)).alias("rejected_bytes"),
    )
    return counted.where(reason.isNull()).drop("reason", "size")


def rejected(parsed: DataFrame) -> DataFrame:
    """The invalid records of parse() as records of the rejected topic: `key` and `value` (JSON), both strings.

    The fields are in schemas/sensor-data-rejected.schema.json.
    """
    value = F.col("value")
    record = F.struct(
        iso("timestamp").alias("time"),
        "partition",
        "offset",
        "reason",
        F.octet_length(value).alias("size"),
        F.make_valid_utf8(F.substring("key", 1, SHOWN_CHARACTERS).cast("string")).alias("key"),
        F.make_valid_utf8(F.substring(value, 1, SHOWN_CHARACTERS).cast("string")).alias("value"),
        F.base64(F.substring(value, 1, KEPT_BYTES)).alias("value_base64"),
    )
    key = F.concat_ws("/", "partition", "offset")
    return parsed.where(F.col("reason").isNotNull()).select(
        key.alias("key"), F.to_json(record, {"ignoreNullFields": "false"}).alias("value")
    )


def iso(timestamp: Column | str) -> Column:
    """A timestamp in ISO 8601, UTC, milliseconds."""
    return F.date_format(timestamp, "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'")
