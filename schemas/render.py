"""Render what is derived from the contract, or check it: `make render`, and `make lint` with --check.

Rendered are the aggregated topic's columns (from aggregations() in pyspark/pyspark.py, by Spark), the late topic's
fields, the supervisor specs, Druid's number of task slots, the README's table of fields, and the topics and supervisors
for Kubernetes. Specs of no datasource are removed. Checked besides: the contract itself, and the sensors of the fleet.

    render.py [--check [--quick]]    --quick leaves out what needs Spark; the windows job checks that at its start
"""

import importlib.util
import json
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql.types import StructField

ROOT = Path(__file__).resolve().parent.parent
# A developer's tool, not a service: it reads what several services have.
sys.path[:0] = [str(ROOT / folder) for folder in ("common", "sensor-data-generator", "supervisor-specs", "schemas")]
sys.path.append(str(ROOT / "pyspark"))  # at the end, or its pyspark.py would be found in place of PySpark

from contract_check import check as check_contract  # noqa: E402
from generator.fleet import SIGNALS  # noqa: E402
from kubernetes_objects import objects  # noqa: E402
from registration.render import render, task_slots  # noqa: E402
from registration.specs import differences  # noqa: E402
from service import contract, log  # noqa: E402
from service.settings import BadSetting  # noqa: E402

SPECS = ROOT / "supervisor-specs"
INDEXER = ROOT / "druid/cluster/data/indexer/runtime.properties"
README = ROOT / "README.md"
KUBERNETES = ROOT / "kubernetes/operators"
CAPACITY = re.compile(r"^druid\.worker\.capacity=.*$", re.M)
TABLE = re.compile(r"(<!-- fields -->\n).*?(<!-- /fields -->)", re.S)
LATE = ("window_start", "window_end", "watermark", "partition", "offset")  # what the late topic adds to a reading

logger = logging.getLogger("render")


def fleet_problem() -> str | None:
    """What differs between the signals of the fleet and those of the contract, in a sentence."""
    signals = [signal.name for signal in contract.signals(contract.topics()["raw"].schema)]
    for name in SIGNALS:
        if name not in signals:
            return (
                f"The fleet sends {name}, which schemas/sensor-data-raw.schema.json doesn't describe: add it to the"
                " schema's properties, with x-unit, minimum and maximum, and run `make render`."
            )
    for name in signals:
        if name not in SIGNALS:
            return (
                f"The fleet doesn't send {name}, which schemas/sensor-data-raw.schema.json describes: add it to SENSORS"
                " in sensor-data-generator/generator/fleet.py, or remove it from the schema and run `make render`."
            )
    if list(SIGNALS) != signals:
        return (
            f"The fleet sends {', '.join(SIGNALS)}, and schemas/sensor-data-raw.schema.json has"
            f" {', '.join(signals)}: put them in the same order, or the windows job parses every record the slow way."
        )
    return None


def rendered(quick: bool) -> dict[Path, str | None]:
    """The text of each file that holds something rendered, as it should be; None for a file to remove.

    Raises BadSetting.
    """
    check_contract(contract.SCHEMAS)
    topics = contract.topics()
    files: dict[Path, str | None] = dict.fromkeys(sorted(SPECS.glob("*.json")))
    late = topics["late"]
    text = late_schema(late.schema, topics["raw"].schema)
    files[contract.SCHEMAS / f"{late.default_name}.schema.json"] = text
    topics["late"] = replace(late, schema=json.loads(text))
    if not quick:
        aggregated = topics["aggregated"]
        text = aggregated_schema(aggregated.schema, topics["raw"].schema)
        files[contract.SCHEMAS / f"{aggregated.default_name}.schema.json"] = text
        topics["aggregated"] = replace(aggregated, schema=json.loads(text))
    for topic in topics.values():
        if topic.datasource:
            files[SPECS / f"{topic.datasource.name}.json"] = _json(render(topic))
    files |= {KUBERNETES / name: text for name, text in objects(KUBERNETES, topics).items()}
    files[INDEXER] = CAPACITY.sub(f"druid.worker.capacity={task_slots(topics)}", INDEXER.read_text())
    if not quick:
        files[README] = TABLE.sub(lambda match: match[1] + table(topics) + match[2], README.read_text())
    return files


def aggregated_schema(schema: Mapping[str, Any], raw: Mapping[str, Any]) -> str:
    """The schema of the aggregated topic with a property for each column that the windows job computes.

    Properties that are there keep their text; new ones are described by their expression.
    """
    from windows_job.output import output_schema  # noqa: PLC0415 (starts with PySpark, which takes a second)
    from windows_job.reading import Form  # noqa: PLC0415
    from windows_job.settings import Settings  # noqa: PLC0415
    from windows_job.spark import spark_session  # noqa: PLC0415

    script = _script(ROOT / "pyspark/pyspark.py")
    os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")  # a short run: compile quickly, not well
    logger.info("starting Spark to read aggregations() in pyspark/pyspark.py, which takes up to half a minute")
    constants = {name: getattr(script, name) for name in Settings.__dataclass_fields__}
    with _quiet_java():
        spark = spark_session(Settings(**constants | {"spark_master": "local[1]", "shuffle_partitions": 1}))
    try:
        aggregations = script.aggregations()
        columns = output_schema(spark, Form.of(raw), aggregations)
        expressions = {_alias(str(column)): str(column) for column in aggregations}
    finally:
        spark.stop()
    properties = {}
    for column in columns:
        known = schema["properties"].get(column.name)
        properties[column.name] = known or _property(column, expressions, raw)
    return _json(
        {**schema, "required": list(properties), "properties": properties, "examples": _examples(schema, properties)}
    )


def late_schema(schema: Mapping[str, Any], raw: Mapping[str, Any]) -> str:
    """The schema of the late topic with the fields of a reading, as the windows job writes them."""
    own = {name: field for name, field in schema["properties"].items() if name in LATE}
    fields = {name: _written(name, field, name in raw["required"]) for name, field in raw["properties"].items()}
    properties = fields | own
    reading = raw["examples"][0]
    examples = [{**dict.fromkeys(fields), **reading, "entity": str(reading["entity"]), **schema["examples"][0]}]
    examples = [{name: example[name] for name in properties} for example in examples]
    return _json({**schema, "required": list(properties), "properties": properties, "examples": examples})


def _written(name: str, field: Mapping[str, Any], required: bool) -> dict[str, Any]:
    """A field of a reading as the windows job writes it: of one type, and null where the reading lacks it."""
    kind = "string" if name in ("time", "entity") else _type(field).removesuffix(" or null")
    shown = {"description": field["description"]} | {key: field[key] for key in ("x-unit",) if key in field}
    if name == "time":
        shown = {"format": "date-time", "description": "event time"}
    elif name == "entity":
        shown = {"description": "the vehicle"}
    return {"type": kind if required else [kind, "null"], **shown}


@contextmanager
def _quiet_java() -> Iterator[None]:
    """Keep the stderr of a Java process that starts here, whose warnings say nothing, unless it fails to start."""
    from pyspark.errors import PySparkException  # noqa: PLC0415

    with tempfile.TemporaryFile("w+") as output:
        terminal = os.dup(sys.stderr.fileno())
        os.dup2(output.fileno(), sys.stderr.fileno())
        try:
            yield
        except PySparkException as error:
            output.seek(0)
            reason = (output.read().strip() or str(error)).splitlines()[-1]
            raise BadSetting(f"Spark did not start ({reason}): it needs Java 17 or 21.") from error
        finally:
            os.dup2(terminal, sys.stderr.fileno())
            os.close(terminal)


def _property(column: "StructField", expressions: Mapping[str, str], raw: Mapping[str, Any]) -> dict[str, Any]:
    name, kind = column.name, column.dataType.simpleString()
    types = {"bigint": "integer", "int": "integer", "double": "number", "string": "string"}
    if kind not in types:
        raise BadSetting(
            f"aggregations() computes {name} as {kind}, which the contract has no type for: cast it to bigint, double"
            " or string."
        )
    unit = next((signal.unit for signal in contract.signals(raw) if name.endswith(signal.name)), None)
    expression = expressions[name].removeprefix("Column<'").removesuffix("'>").partition(" AS ")[0]
    shown = [types[kind], "null"] if column.nullable else types[kind]
    return {"type": shown, **({"x-unit": unit} if unit else {}), "description": f"{expression} of the readings"}


def _examples(schema: Mapping[str, Any], properties: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The schema's example with the columns of now; a new one has a value of its type."""
    values = {"integer": 1, "number": 1.5, "string": "text"}
    example = schema["examples"][0]
    return [
        {
            name: example[name] if name in example else values[_type(field).removesuffix(" or null")]
            for name, field in properties.items()
        }
    ]


def table(topics: Mapping[str, contract.Topic]) -> str:
    """The fields of every topic with a datasource, in Markdown."""
    lines = ["| topic and datasource | field | type | meaning |", "| --- | --- | --- | --- |"]
    for topic in topics.values():
        if topic.datasource:
            first = f"`{topic.default_name}`"
            for name, field in topic.schema["properties"].items():
                lines.append(
                    f"| {first} | `{name}` | {_type(field)} | {_meaning(field, name in topic.schema['required'])} |"
                )
                first = ""
    return "\n".join(lines) + "\n"


def _type(field: Mapping[str, Any]) -> str:
    kind = field.get("type", field.get("x-type"))
    return kind if isinstance(kind, str) else " or ".join(kind)


def _meaning(field: Mapping[str, Any], required: bool) -> str:
    unit = f", {field['x-unit']}" if "x-unit" in field else ""
    both = "minimum" in field and "maximum" in field and "string" not in _type(field)
    span = f", {field['minimum']} to {field['maximum']}" if both else ""
    return f"{field['description']}{unit}{span}{'' if required else ' (optional)'}"


def _alias(column: str) -> str:
    return column.removesuffix("'>").rpartition(" AS ")[2]


def difference(path: Path, text: str) -> str:
    """What a rendered file lacks or has too much, to be put behind its name; empty where the text alone differs."""
    if path.parent == contract.SCHEMAS and path.exists():
        have, want = (list(json.loads(each)["properties"]) for each in (path.read_text(), text))
        if path.name.startswith(contract.topics()["late"].default_name):
            missing = next((name for name in want if name not in have), None)
            return f" ({missing} is missing)" if missing else ""
        from windows_job.output import column_difference  # noqa: PLC0415 (starts with PySpark)

        found = column_difference(list(json.loads(text)["properties"]), json.loads(path.read_text()))
        return f" (aggregations() {found})" if found else ""
    if path.parent == SPECS and path.exists():
        try:
            first = next(differences(json.loads(path.read_text()), json.loads(text)), None)
        except (ValueError, LookupError, TypeError, AttributeError):
            first = "it is not a Kafka supervisor spec"
        return f" ({first})" if first else ""
    return ""


def _script(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"script_{path.stem}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    log.configure("render")
    arguments = set(sys.argv[1:])
    if arguments - {"--check", "--quick"}:
        sys.exit(f"usage: {Path(sys.argv[0]).name} [--check [--quick]]")
    check = "--check" in arguments
    try:
        files = rendered(quick="--quick" in arguments)
    except BadSetting as error:
        logger.error(error)
        sys.exit(1)
    stale = [path for path, text in files.items() if text is None or not path.exists() or path.read_text() != text]
    problem = fleet_problem()
    if problem:
        logger.error(problem)
    for path in stale:
        name, text = os.path.relpath(path, ROOT), files[path]
        if text is None:
            if check:
                logger.error("%s belongs to no datasource in schemas/topics.json: `make render` removes it.", name)
            else:
                path.unlink()
                logger.info("%s: removed, as it belongs to no datasource in schemas/topics.json", name)
        elif check:
            logger.error("%s is stale%s: run `make render`.", name, difference(path, text))
        else:
            path.write_text(text)
            logger.info("%s: rendered", name)
    if problem or (check and stale):
        sys.exit(1)
    if not stale:
        logger.info("all rendered files are up to date")


if __name__ == "__main__":
    main()
