"""The JSON text of a record, which from_json and Druid's parser must read in the same way."""

from pyspark.sql import Column
from pyspark.sql import functions as F

NO_LIMIT = 2**31 - 1
# Strict JSON; and, as in Druid, no limit to the depth or length of fields that are not used.
JSON: dict[str, str] = {"allowNonNumericNumbers": "false", "allowSingleQuotes": "false"} | dict.fromkeys(
    ["maxNestingDepth", "maxNumLen", "maxStringLen"], str(NO_LIMIT)
)


def json_text(value: Column) -> Column:
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


def single_value(text: Column) -> Column:
    """Whether nothing follows the JSON value that `text` begins with: from_json ignores what follows."""
    # Then the text is valid as the only item of an array and as the only value of an object.
    item = F.size(F.from_json(F.concat(F.lit("["), text, F.lit("]")), "ARRAY<STRUCT<entity: INT>>", JSON)) == 1
    value = F.from_json(F.concat(F.lit('{"value":'), text, F.lit("}")), "value STRUCT<entity: INT>", JSON)["value"]
    return F.coalesce(item & value.isNotNull(), F.lit(False))


def without_repeats(text: Column) -> Column:
    """The text with the last of fields of one name only, as in Druid: from_json takes the last of the right type."""
    names = F.json_object_keys(text)
    once = F.coalesce(F.size(names) == F.size(F.array_distinct(names)), F.lit(True))
    return F.when(once, text).otherwise(F.coalesce(F.to_json(F.try_parse_json(text)), F.lit("{}")))
