"""The supervisor specs as they are checked in, and whether they match the schemas."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from kafka_client import KafkaClient
from service.contract import Topic

from registration.render import render


class InvalidSpec(Exception):
    """A file of a spec can't be used; the text names the file and what to do."""


def load_specs(folder: Path, topics: Mapping[str, Topic], kafka: KafkaClient) -> dict[str, dict[str, Any]]:
    """The specs in `folder` by datasource, to read the topics by their present names from `kafka`.

    What a schema doesn't determine (ioConfig, tuningConfig, granularity) may be edited in the file.
    Raises InvalidSpec.
    """
    with_datasource = {topic.datasource.name: topic for topic in topics.values() if topic.datasource}
    for path in sorted(folder.glob("*.json")):
        if path.stem not in with_datasource:
            raise InvalidSpec(
                f"{_shown(path)} belongs to no datasource in schemas/topics.json: add it there or remove the file."
            )
    specs = {}
    for name, topic in with_datasource.items():
        path, rendered = folder / f"{name}.json", render(topic)
        try:
            spec = json.loads(path.read_text())
            found = next(differences(spec, rendered), None)
            spec["spec"]["ioConfig"]["topic"] = topic.name
            spec["spec"]["ioConfig"]["consumerProperties"] |= kafka.druid_properties()
        except FileNotFoundError:
            raise InvalidSpec(f"{_shown(path)} is missing: run `make render`.") from None
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise InvalidSpec(
                f"{_shown(path)} is not a Kafka supervisor spec ({error!r}): fix it, or run `make render`."
            ) from error
        if found:
            schema = f"schemas/{topic.default_name}.schema.json"
            raise InvalidSpec(f"{_shown(path)} does not match {schema}: {found}; run `make render`.")
        specs[name] = spec
    return specs


def differences(spec: Mapping[str, Any], rendered: Mapping[str, Any]) -> Iterator[str]:
    """The differences in what the schema determines: datasource, timestamp, columns, format and filter.

    Raises LookupError, TypeError or AttributeError when `spec` has another structure.
    """
    have, want = spec["spec"]["dataSchema"], rendered["spec"]["dataSchema"]
    for key in ("dataSource", "timestampSpec"):
        if have[key] != want[key]:
            yield f"{key} is {json.dumps(have[key])} instead of {json.dumps(want[key])}"
    have_columns, want_columns = _columns(have), _columns(want)
    for name, kind in want_columns.items():
        if name not in have_columns:
            yield f"column {name} is missing"
        elif have_columns[name] != kind:
            yield f"column {name} is a {have_columns[name]} instead of a {kind}"
    yield from (f"column {name} is not in the schema" for name in have_columns if name not in want_columns)
    want_format = rendered["spec"]["ioConfig"]["inputFormat"]
    have_format = spec["spec"]["ioConfig"]["inputFormat"]
    if want_format["type"] == "kafka" and have_format != want_format:  # it protects Kafka's own columns
        yield f"inputFormat is {json.dumps(have_format)} instead of {json.dumps(want_format)}"
    have_transforms, want_transforms = _transforms(have), _transforms(want)
    if have_transforms != want_transforms:
        yield f"transforms is {json.dumps(have_transforms)} instead of {json.dumps(want_transforms)}"
    have_conditions, want_conditions = _conditions(have), _conditions(want)
    for condition in want_conditions:
        if condition not in have_conditions:
            yield f"the filter lacks the condition {json.dumps(condition)}"
    for condition in have_conditions:
        if condition not in want_conditions:
            yield f"the filter has the condition {json.dumps(condition)}, which the schema lacks"


def scale(specs: Iterable[dict[str, Any]], task_count: int, replicas: int) -> None:
    """Let each supervisor have these numbers of tasks and replicas; 0 leaves what the spec says."""
    given = {name: value for name, value in (("taskCount", task_count), ("replicas", replicas)) if value}
    for spec in specs:
        spec["spec"]["ioConfig"] |= given


def _columns(data: Mapping[str, Any]) -> dict[str, str]:
    """The types of the dimensions by name. In Druid a string's type may be left out."""
    dimensions = data["dimensionsSpec"]["dimensions"]
    return dict(
        (each, "string") if isinstance(each, str) else (each["name"], each.get("type", "string")) for each in dimensions
    )


def _transforms(data: Mapping[str, Any]) -> list[Any]:
    return list((data.get("transformSpec") or {}).get("transforms") or [])


def _conditions(data: Mapping[str, Any]) -> list[Any]:
    """The conditions that a record must meet, all of them."""
    found = (data.get("transformSpec") or {}).get("filter")
    if not found:
        return []
    return list(found["fields"]) if found["type"] == "and" else [found]


def _shown(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
