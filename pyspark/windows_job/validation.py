"""Validation: which records of the raw topic are readings, and what is written of those that are not.

The form of a reading is in schemas/sensor-data-raw.schema.json. Druid's filter of sensor-data-raw, which is rendered
from the same schema, accepts the same records.
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from windows_job.reading import Form

NO_LIMIT = 2**31 - 1
# Strict JSON; and, as in Druid, no limit to the depth or length of fields that are not used.
JSON = {"allowNonNumericNumbers": "false", "allowSingleQuotes": "false"} | dict.fromkeys(
    ["maxNestingDepth", "maxNumLen", "maxStringLen"], str(NO_LIMIT)
)

# What is kept of a rejected record: a larger one would not fit into a record of Kafka.
KEPT_BYTES = 1024 * 1024
SHOWN_CHARACTERS = 1000

REJECTED_COUNT = "rejected"  # the name of the observation and of its only metric


def parse(raw: DataFrame, form: Form, control_topic: str) -> DataFrame:
    """Records of Kafka with the fields of `form`, `time` as a timestamp, and `reason`: why it is invalid, or null.

    `raw` has the columns of Spark's Kafka source. A marker of the control topic counts as a reading of vehicle 0.
    """
    value, plain, text, reading = (F.col(name) for name in ("value", "plain", "text", "reading"))
    schema = ", ".join(f"{name} {kind}" for name, kind in form.fields.items())
    # In steps, so that nothing is computed twice. Plain records are complete before from_json: there Spark's generated
    # code ends, and every column is copied.
    string = value.cast("string")
    seen = raw.select("*", F.coalesce(string.rlike(form.plain_pattern), F.lit(False)).alias("plain"))
    split = seen.select("*", F.when(plain, F.split(string, ",")).alias("parts"))
    placed = split.select(
        "*", *(F.when(plain, _at_its_place(form, name)).alias(f"plain_{name}") for name in form.fields)
    )
    texts = placed.select("*", F.when(F.col("plain_time").isNull(), _text(value)).alias("text"))
    read = texts.select(
        "*",
        F.when(text.isNotNull(), F.from_json(_without_repeats(text), schema, JSON)).alias("reading"),
        F.when(text.isNotNull(), _single_value(text)).alias("single"),
    )
    time = F.when(reading["time"].rlike(form.time_pattern), reading["time"].try_cast("timestamp"))
    parsed = read.select(
        "*",
        F.coalesce("plain_time", time).alias("time"),
        *(F.coalesce(f"plain_{name}", reading[name]).alias(name) for name in form.fields if name != "time"),
    )
    judged = parsed.withColumn("reason", _reason(form, control_topic))
    return judged.drop("plain", "parts", "text", "reading", "single", *(f"plain_{name}" for name in form.fields))


def _at_its_place(form: Form, name: str) -> Column:
    """A field of a plain record, of which `parts` are what stands between its commas; `time` as a timestamp."""
    # Substrings of bytes, as a plain record is ASCII: in a string Spark counts the characters one by one.
    if name == "time":
        # Without the Z, which adds nothing, as times without a zone are UTC here; a zone takes as long to read as the
        # rest.
        start, length = len('{"time":"'), len("2026-01-01T00:00:00.000")
        return F.substring("value", start + 1, length).cast("string").try_cast("timestamp")
    part = F.col("parts")[list(form.plain).index(name)].cast("binary")
    return F.substring(part, len(f'"{name}":') + 1, NO_LIMIT).cast("string").cast(form.fields[name])


def _reason(form: Form, control_topic: str) -> Column:
    """The first condition of a reading that a record fails, in words; null where it meets all."""
    text, reading = F.col("text"), F.col("reading")
    required = [signal.name for signal in form.signals if not signal.optional]
    nothing = F.coalesce(reading["time"], *(F.col(name).cast("string") for name in ("entity", *required))).isNull()
    json = (
        F.when(F.col("plain_time").isNotNull(), None)
        .when(nothing, "not a JSON object with the fields of a reading")
        .when(~F.is_valid_utf8(text), "not valid UTF-8")
        .when(~F.col("single"), "more than one JSON value")
        .when(reading["time"].isNull(), "time is missing")
        .when(F.col("time").isNull(), "time is not ISO 8601 in UTC")
    )
    time, kafka_time = F.unix_millis("time"), F.unix_millis("timestamp")
    earliest = F.unix_millis(F.lit(form.earliest).cast("timestamp"))
    fields = (
        F.when(time < earliest, f"time is before {form.earliest[:4]}")
        .when(time > kafka_time + form.seconds_ahead * 1000, "time is ahead of the broker's clock")
        .when(F.col("entity").isNull(), "entity is missing or not an integer")
        .when((F.col("entity") < 1) & (F.col("topic") != control_topic), "entity is below 1")
    )
    for signal in form.signals:
        number = F.col(signal.name)
        if signal.optional:
            # from_json gives null for a value of another type too.
            there = F.get_json_object(text, f"$.{signal.name}").isNotNull()
            fields = fields.when(number.isNull() & there, f"{signal.name} is not a number")
        else:
            fields = fields.when(number.isNull(), f"{signal.name} is missing or not a number")
        fields = fields.when(~number.between(signal.low, signal.high), f"{signal.name} is out of range")
    return F.coalesce(json, fields)


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
    values = F.try_parse_json(text)
    # to_json would write 1.0 as 1, which is an integer.
    whole = F.schema_of_variant(F.try_variant_get(values, "$.entity", "variant")) == "BIGINT"
    return F.when(once, text).when(whole, F.to_json(values)).otherwise(F.lit("{}"))


def readings(parsed: DataFrame, form: Form) -> DataFrame:
    """The valid records of parse() with the fields of `form`. The observation REJECTED_COUNT counts the others."""
    # Only these columns pass the observation: Spark prunes none across it.
    fields = parsed.select(*form.fields, "reason")
    counted = fields.observe(REJECTED_COUNT, F.count("reason").alias(REJECTED_COUNT))
    return counted.where(F.col("reason").isNull()).drop("reason")


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


def iso(timestamp: str) -> Column:
    """A timestamp in ISO 8601, UTC, milliseconds."""
    return F.date_format(timestamp, "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'")
