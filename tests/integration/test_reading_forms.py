"""The forms in which a record may be written, by a real local Spark: each is the same reading."""

import json

from judged_records import NO_ENTITY, NOT_ISO, PLAIN, TEMP_RANGE, judged
from pyspark.sql import SparkSession
from records import GOOD, changed, literal, parse, raw
from windows_job.reading import ENTITY


def nested(depth: int) -> str:
    return '{"a":[' * (depth // 2) + "]}" * (depth // 2)


OTHER_FORMS: dict[str, str | bytes] = {
    "as the generator writes it": PLAIN,
    "without the fields that are not used": GOOD,
    "fields in another order": '{"seq":1,"humidity":35.0,"temp":20.0,"entity":1,"time":"2026-01-01T10:00:00.000Z"}',
    "unknown fields": changed(colour={"red": 1}, list=[1, {"entity": 5}], nothing=None),
    "braces in strings": changed(note='}{"]', more={"note": '"}', "list": ["[", {"}": "{"}]}),
    "white space": " \t\r\n" + json.dumps(json.loads(GOOD), indent=2) + "\n ",
    "a newline at the end": GOOD + "\n",
    "plain, and a newline at the end": PLAIN + "\r\n",
    "escaped names": GOOD.replace('"entity"', '"\\u0065ntity"').replace('"time"', '"\\u0074\\u0069me"'),
    "other numerals": GOOD.replace("20.0", "2E1").replace("35.0", "35"),
    "an offset instead of Z": GOOD.replace("10:00:00.000Z", "10:00:00.000+00:00"),
    "an offset without a colon": GOOD.replace("10:00:00.000Z", "10:00:00.000000+0000"),
    "an offset of hours": GOOD.replace("10:00:00.000Z", "05:00:00-05"),
    "another offset": GOOD.replace("10:00:00.000Z", "15:30:00.000+05:30"),
    "an entity as text": changed(entity="1"),
    "plain, with an entity as text": PLAIN.replace('"entity":1', '"entity":"1"'),
    "an entity with a fraction": changed(entity=1.0),
    "an entity with an exponent": literal("entity", "1e0"),
    "a shorter time": GOOD.replace("10:00:00.000Z", "10:00:00Z"),
    "characters beyond ASCII": json.dumps(json.loads(GOOD) | {"note": "é€😀"}, ensure_ascii=False),
    "a BOM in UTF-8": GOOD.encode("utf-8-sig"),
    "UTF-16 with a BOM": GOOD.encode("utf-16"),
    "UTF-16 with a BOM, big-endian": b"\xfe\xff" + GOOD.encode("utf-16-be"),
    "UTF-16, little-endian": GOOD.encode("utf-16-le"),
    "UTF-16, big-endian": GOOD.encode("utf-16-be"),
    "UTF-32 with a BOM": GOOD.encode("utf-32"),
    "UTF-32, little-endian": GOOD.encode("utf-32-le"),
    "UTF-32, big-endian": GOOD.encode("utf-32-be"),
    "5000 levels deep": literal("x", nested(5000)),
    "numbers of 2000 digits": literal("temp", "20." + "0" * 2000).replace("35.0", "35." + "0" * 2000),
    "an unknown number of 2000 digits": literal("x", "9" * 2000),
    "a megabyte of text": changed(note="x" * 2**20),
}


def test_a_reading_in_another_form_is_the_same_reading(spark: SparkSession) -> None:
    same = ("10:00:00.000000", "1", 20.0, 35.0, 1, None)
    found = dict(zip(OTHER_FORMS, judged(spark, *OTHER_FORMS.values()), strict=True))
    assert found == dict.fromkeys(OTHER_FORMS, same)


def repeated(*fields: str) -> str:
    return GOOD[:-1] + "," + ",".join(fields) + "}"


REPEATED: list[tuple[str, float | None, str | None]] = [
    (repeated('"temp":21'), 21.0, None),
    (repeated('"temp":"warm"', '"temp":21'), 21.0, None),
    ('{"temp":"warm",' + GOOD[1:], 20.0, None),
    (repeated('"temp":-0.0'), 0.0, None),
    (repeated('"x":1', '"x":"two"'), 20.0, None),
    (repeated('"x":{"temp":1,"temp":2}'), 20.0, None),
    (repeated('"temp":21', '"temp":99'), 99.0, TEMP_RANGE),
    (repeated('"temp":"warm"'), None, "temp is not a number"),
    (repeated('"temp":null'), None, None),
    (repeated('"t\\u0065mp":"warm"'), None, "temp is not a number"),
    (repeated('"entity":true'), 20.0, NO_ENTITY),
    (repeated('"entity":1.5', '"entity":"truck"'), 20.0, None),
    (repeated('"time":"yesterday"'), 20.0, NOT_ISO),
]


def test_the_last_of_repeated_fields_counts(spark: SparkSession) -> None:
    values = [value for value, *_ in REPEATED]
    found = [(temp, reason) for _, _, temp, _, _, reason in judged(spark, *values)]
    assert [(value, *what) for value, what in zip(values, found, strict=True)] == REPEATED


SPELLINGS = {
    "903": "903",
    "-7": "-7",
    "0": "0",
    "912.0": "912",
    "1E3": "1000",
    "-0.0": "0",
    f"{2**53}.0": str(2**53),
    str(2**63 - 1): str(2**63 - 1),
    "356307042441013": "356307042441013",
    '"903"': "903",
    '"912.0"': "912.0",
    '"truck-904"': "truck-904",
    '" a "': " a ",
    '"\\u00e9\\ud83d\\ude00"': "é😀",
    '"true"': "true",
    '"a,b"': "a,b",
    '"-7"': "-7",
    '"-0"': "-0",
    '"007"': "007",
    '"9223372036854775807"': "9223372036854775807",
    '"9223372036854775808"': "9223372036854775808",
}


def test_a_number_and_its_text_are_one_vehicle(spark: SparkSession) -> None:
    values = [literal("entity", text) for text in SPELLINGS] + [
        PLAIN.replace('"entity":1', f'"entity":{text}') for text in SPELLINGS
    ]
    rows = parse(raw(spark, *values)).orderBy("offset").select("reason", "entity", *ENTITY).collect()
    assert [(row.reason, row.entity) for row in rows] == [(None, entity) for entity in SPELLINGS.values()] * 2
    groups = {(row.entity_number, row.entity_text) for row in rows}
    assert len(groups) == len({*SPELLINGS.values()})
    assert [number for number, text in groups if (number is None) == (text is None)] == []
    exact = {entity for entity in SPELLINGS.values() if entity.lstrip("-").isdigit()} - {"-0", "007", str(2**63)}
    assert {str(number) for number, text in groups if text is None} == exact
