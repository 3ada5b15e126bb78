"""What a reading is, and what becomes of a record that is none.

The filter in supervisor-specs/sensor-data-raw.json says the same for Druid: a change here is a change there.
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

READING = "time STRING, entity INT, temp DOUBLE, humidity DOUBLE, seq BIGINT"  # the fields used here, in Spark SQL
TIME_FORMAT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?Z$"  # ISO 8601 in UTC
# A reading as the generator writes it, field by field. What such a field says is found by its place, much faster than
# from_json finds it; records of any other form go the long way. A test holds both ways together.
PLAIN_FIELDS = {
    "time": r'\{"time":"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{3}Z"',
    "entity": r'"entity":[1-9][0-9]{0,8}+',
    "temp": r'"temp":-?[1-9]?[0-9][.][0-9]{1,9}+',
    "humidity": r'"humidity":(?:0|[1-9][0-9]{0,2})[.][0-9]{1,9}+',
    "seq": r'"seq":[1-9][0-9]{0,17}+',
    "vin": r'"vin":"[0-9A-Z]*+"\}',
}
PLAIN = rf"^{','.join(PLAIN_FIELDS.values())}\z"
EARLIEST_TIME = "2000-01-01T00:00:00Z"  # before it, a clock was never set
CLOCK_AHEAD_SECONDS = 10  # how far a vehicle's clock may be ahead of the broker's
NO_LIMIT = 2**31 - 1
# Strict JSON, and as Druid without limits to how deep or long a field is that nobody knows.
JSON = {"allowNonNumericNumbers": "false", "allowSingleQuotes": "false"} | dict.fromkeys(
    ["maxNestingDepth", "maxNumLen", "maxStringLen"], str(NO_LIMIT)
)
RANGES = {"temp": (-50, 60), "humidity": (0, 100)}  # what the sensors can measure: degrees Celsius, percent

# What is kept of a rejected record: more bytes than Kafka takes in one record don't fit.
KEPT_BYTES = 1024 * 1024
SHOWN_CHARACTERS = 1000


def parse(raw: DataFrame, control_topic: str) -> DataFrame:
    """Records of Kafka with the fields of READING, `time` as a timestamp, and `reason`: why it is no reading, or null.

    `raw` has the columns of Spark's Kafka source. A marker of the control topic counts as
    a reading, of vehicle 0.
    """
    value, plain, text, reading = (F.col(name) for name in ("value", "plain", "text", "reading"))
    fields = [field.split() for field in READING.split(", ")]
    # In steps, so that nothing is computed twice. Plain records are done with before from_json: there Spark's generated
    # code ends, and every column is copied.
    string = value.cast("string")
    seen = raw.select("*", F.coalesce(string.rlike(PLAIN), F.lit(False)).alias("plain"))
    split = seen.select("*", F.when(plain, F.split(string, ",")).alias("parts"))
    placed = split.select("*", *(F.when(plain, _in_its_place(*field)).alias(f"plain_{field[0]}") for field in fields))
    texts = placed.select("*", F.when(F.col("plain_time").isNull(), _text(value)).alias("text"))
    read = texts.select(
        "*",
        F.when(text.isNotNull(), F.from_json(_without_repeats(text), READING, JSON)).alias("reading"),
        F.when(text.isNotNull(), _alone(text)).alias("alone"),
    )
    moment = F.when(reading["time"].rlike(TIME_FORMAT), reading["time"].try_cast("timestamp"))
    parsed = read.select(
        "*",
        F.coalesce("plain_time", moment).alias("time"),
        *(F.coalesce(f"plain_{name}", reading[name]).alias(name) for name, _ in fields if name != "time"),
    )
    judged = parsed.withColumn("reason", _reason(control_topic))
    return judged.drop("plain", "parts", "text", "reading", "alone", *(f"plain_{name}" for name, _ in fields))


def _in_its_place(name: str, kind: str) -> Column:
    """A field of a plain record, of which `parts` are what stands between its commas; `time` as a timestamp."""
    # Of bytes, as it is all ASCII: in a string Spark counts the characters one by one.
    if name == "time":
        # Without its Z, which says what a time without a zone means here: a zone takes as long to read as the rest.
        start, length = len('{"time":"'), len("2026-01-01T00:00:00.000")
        return F.substring("value", start + 1, length).cast("string").try_cast("timestamp")
    part = F.col("parts")[list(PLAIN_FIELDS).index(name)].cast("binary")
    return F.substring(part, len(f'"{name}":') + 1, NO_LIMIT).cast("string").cast(kind)


def _reason(control_topic: str) -> Column:
    """The first condition of a reading that a record doesn't meet, in words; null where it meets all."""
    text, reading = F.col("text"), F.col("reading")
    nothing = F.coalesce(reading["time"], *(F.col(name).cast("string") for name in ("entity", *RANGES))).isNull()
    form = (
        F.when(F.col("plain_time").isNotNull(), None)
        .when(nothing, "no JSON object with the fields of a reading")
        .when(~F.is_valid_utf8(text), "not encoded in UTF-8")
        .when(~F.col("alone"), "more than one JSON value")
        .when(reading["time"].isNull(), "no time")
        .when(F.col("time").isNull(), "time is no moment in ISO 8601, UTC")
    )
    time, kafka_time = F.unix_millis("time"), F.unix_millis("timestamp")
    earliest = F.unix_millis(F.lit(EARLIEST_TIME).cast("timestamp"))
    content = (
        F.when(time < earliest, f"time is before {EARLIEST_TIME[:4]}")
        .when(time > kafka_time + CLOCK_AHEAD_SECONDS * 1000, "time is ahead of the broker's clock")
        .when(F.col("entity").isNull(), "no entity, or no whole number")
        .when((F.col("entity") < 1) & (F.col("topic") != control_topic), "entity is below 1")
    )
    for name, (low, high) in RANGES.items():
        content = content.when(F.col(name).isNull(), f"no {name}, or no number")
        content = content.when(~F.col(name).between(low, high), f"{name} is out of range")
    return F.coalesce(form, content)


def _text(value: Column) -> Column:
    """The JSON text of a value. Other encodings than UTF-8 are told by the first bytes, as Druid's parser does."""
    head = F.hex(F.substring(value, 1, 4))
    return (
        F.when(head.rlike("^(0000FEFF|FFFE0000|000000..)"), F.decode(value, "UTF-32"))
        .when(head.rlike("^..000000"), F.decode(F.concat(F.unhex(F.lit("FFFE0000")), value), "UTF-32"))
        .when(head.rlike("^(FEFF|FFFE|00..)"), F.decode(value, "UTF-16"))
        .when(head.rlike("^..00"), F.decode(value, "UTF-16LE"))
        .when(head.startswith("EFBBBF"), F.substring(value, 4, NO_LIMIT).cast("string"))
        .otherwise(value.cast("string"))
    )


def _alone(text: Column) -> Column:
    """Nothing follows the JSON value that `text` begins with: from_json doesn't look behind it."""
    # So the text must be good as the only item of an array and as the only value of an object.
    item = F.size(F.from_json(F.concat(F.lit("["), text, F.lit("]")), "ARRAY<STRUCT<entity: INT>>", JSON)) == 1
    value = F.from_json(F.concat(F.lit('{"value":'), text, F.lit("}")), "value STRUCT<entity: INT>", JSON)["value"]
    return F.coalesce(item & value.isNotNull(), F.lit(False))


def _without_repeats(text: Column) -> Column:
    """Of fields of one name only the last, as Druid does: from_json would take the last one of the right type."""
    names = F.json_object_keys(text)
    once = F.coalesce(F.size(names) == F.size(F.array_distinct(names)), F.lit(True))
    values = F.try_parse_json(text)
    # Written anew, 1.0 would become 1, and that is a whole number.
    whole = F.schema_of_variant(F.try_variant_get(values, "$.entity", "variant")) == "BIGINT"
    return F.when(once, text).when(whole, F.to_json(values)).otherwise(F.lit("{}"))


def readings(parsed: DataFrame) -> DataFrame:
    """The records of parse() that are readings, and the fields that aggregations may use.

    The others are counted by the measure `books`.
    """
    # Only these go through the measure: Spark prunes no column across it.
    fields = parsed.select("time", "entity", "temp", "humidity", "seq", "reason")
    counted = fields.observe("books", F.count("reason").alias("rejected"))
    return counted.where(F.col("reason").isNull()).drop("reason")


def rejected(parsed: DataFrame) -> DataFrame:
    """The records of parse() that are no readings, as records: `key` and `value` (JSON), both strings.

    `value_base64` is the original value, byte by byte, up to KEPT_BYTES of them; `value` shows its beginning as text,
    `size` is its true length in bytes. `time` is Kafka's timestamp of the record.
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
    """A timestamp as ISO 8601, UTC, milliseconds."""
    return F.date_format(timestamp, "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'")
