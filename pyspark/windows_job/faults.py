"""The conditions of a reading, in words: what is wrong with a record that parse() has read."""

from pyspark.sql import Column
from pyspark.sql import functions as F
from service.contract import Signal

from windows_job.reading import ENTITY, MARKER, Form

INFINITE = ("Infinity", "-Infinity")  # what Druid makes of a number that is too large for a double


def no_json(form: Form) -> Column:
    """Why a record has no fields to judge; null if it has."""
    text, reading = F.col("text"), F.col("reading")
    numbers = (signal.name for signal in form.signals)
    nothing = F.coalesce(
        reading["time"], *(F.col(name).cast("string") for name in (*ENTITY, *numbers))
    ).isNull() & reading["entity"].isNull()  # fmt: skip
    return (
        # A plain record
        F.when(text.isNull() & F.col("time").isNotNull(), None)
        .when(nothing, "not a JSON object with the fields of a reading")
        .when(~F.is_valid_utf8(text), "not valid UTF-8")
        .when(~F.col("single"), "more than one JSON value")
    )


def faults(form: Form) -> list[Column]:
    """The conditions of a reading that a record with fields fails, in words, each null if it meets it."""
    names = [signal.name for signal in form.signals]
    none = F.coalesce(*names).isNull() & F.coalesce(*map(_in_json, names)).isNull()
    no_signal = F.when(none, f"all signals are missing: one of {', '.join(names)} must be there")
    return [time_fault(form), entity_fault(form), *map(_signal_fault, form.signals), no_signal]


def time_fault(form: Form) -> Column:
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


def entity_fault(form: Form) -> Column:
    (number, text), value = (F.col(name) for name in ENTITY), F.col("reading.entity")
    length = F.length(text)
    return (
        F.when(number.isNotNull() & ~F.col("is_control"), None)
        .when(number.isNull() & text.isNull() & (value.isNull() | F.is_variant_null(value)), "entity is missing")
        .when(number.isNull() & text.isNull(), "entity is neither a text nor a whole number of 64 bits")
        .when((text == MARKER) & ~F.col("is_control"), "entity is empty")
        .when(text.isin(*INFINITE), "entity is a name that Druid can't tell from a number")
        .when(length > form.longest_entity, f"entity has more than {form.longest_entity} characters")
        .when(F.col("is_control") & (number.isNotNull() | (text != MARKER)), "not a marker of the windows job")
    )


def range_fault(signal: Signal, number: Column) -> Column:
    return F.when(
        ~number.between(signal.low, signal.high),
        f"{signal.name} is not in the range {signal.low} to {signal.high} {signal.unit}",
    )


def _in_json(name: str) -> Column:
    """A field as JSON, null where it is missing or null: from_json gives null for a value of another type too."""
    return F.get_json_object("text", f"$.{name}")


def _signal_fault(signal: Signal) -> Column:
    number, value = F.col(signal.name), _in_json(signal.name)
    fault = range_fault(signal, number)
    if not signal.optional:
        fault = fault.when(number.isNull() & value.isNull(), f"{signal.name} is missing")
    return fault.when(number.isNull() & value.isNotNull(), f"{signal.name} is not a number")
