"""What aggregations() computes, held to the contract and to the windows that are open in the checkpoint."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pyspark.errors import AnalysisException
from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType
from service import contract, state
from service.settings import BadSetting

from windows_job import checkpoint, idle
from windows_job.aggregation import aggregate, recency
from windows_job.consistency import RESET
from windows_job.reading import ENTITY, Form
from windows_job.settings import Settings
from windows_job.topics import Token

logger = logging.getLogger(__name__)

Aggregations = Callable[[], list[Column]]


def output_schema(spark: SparkSession, form: Form, aggregations: Sequence[Column]) -> StructType:
    """The columns of a window. Raises BadSetting when `aggregations` use a column that readings don't have."""
    types = dict(form.fields) | dict.fromkeys(("time", "clock"), "TIMESTAMP")
    types["rejected_size"] = "INT"
    types |= dict(zip(ENTITY, ("BIGINT", types.pop("entity")), strict=True))
    records = spark.createDataFrame([], ", ".join(f"{name} {kind}" for name, kind in types.items()))
    names = [name for name in form.fields if name != "entity"]
    try:
        return aggregate(records, aggregations, "1 minute", "1 minute").schema
    except AnalysisException as error:
        unknown = (error.getMessageParameters() or {}).get("objectName", "").strip("`")
        if not unknown:
            raise
        raise BadSetting(
            f"aggregations() uses {unknown}, which is no field of a reading: the fields are"
            f" {', '.join([*names, 'recency'])}. Correct the name, or add the signal to"
            " schemas/sensor-data-raw.schema.json and run `make render`."
        ) from None


def column_difference(columns: Sequence[str], schema: Mapping[str, Any]) -> str | None:
    """How the computed columns differ from those that a schema of the aggregated topic describes; None if equal."""
    described = list(schema["properties"])
    if missing := [name for name in columns if name not in described]:
        return f"computes {', '.join(missing)}, which it doesn't describe"
    if extra := [name for name in described if name not in columns]:
        return f"doesn't compute {', '.join(extra)}, which it describes"
    return None


def check_contract(columns: Sequence[str], schema: Mapping[str, Any]) -> None:
    """Raise BadSetting unless the schema of the aggregated topic describes exactly these columns."""
    if difference := column_difference(columns, schema):
        raise BadSetting(
            f"aggregations() doesn't match schemas/sensor-data-aggregated.schema.json: it {difference}."
            " Run `make render`, then start again."
        )


def check_open_windows(
    folder: checkpoint.Folder, settings: Settings, aggregations: Sequence[Column], token: Token | None = None
) -> None:
    """Accept another window length or other columns while no window is open; raise BadSetting while one is.

    `folder` is the checkpoint, `token` Kafka's newest progress token. Writes down the length and the columns.
    """
    columns = [str(column) for column in (*aggregations, recency(settings.window_seconds), *map(F.col, ENTITY))]
    wanted = {"window_duration": settings.window_seconds, "aggregations": columns}
    changed = checkpoint.changed_setting(folder, wanted)
    if not changed:
        return
    name, before = changed
    if name == "window_duration":
        what = f"window_duration changed from {before} to {settings.window_seconds} seconds"
    else:
        what = f"aggregations() changed: {_difference(before or [], columns)}"
    # Without a token no batch has been committed, and nothing has been read.
    end = idle.newest_window_end(token["newest"], token["window_seconds"] * 1000) if token else 0
    if token is None or (end <= token["watermark"] and checkpoint.last_committed(folder)[0] == token["batch_id"]):
        checkpoint.forget_state_schema(folder)
        checkpoint.write_settings(folder, wanted)
        logger.info("%s; no window is open, so it applies from now on", what)
        return
    ahead = contract.topics()["raw"].schema["properties"]["time"]["x-seconds-ahead"]
    raise BadSetting(
        f"{what}, but windows of the old kind are open up to {state.iso_time(end / 1000)}. Change it back and start"
        f" again: when no reading has come for {token['window_seconds'] + token['watermark_seconds'] + ahead} seconds,"
        f" no window is open, and the change is accepted. Or {RESET}."
    )


def _difference(before: Sequence[str], now: Sequence[str]) -> str:
    added = [_expression(column) for column in now if column not in before]
    removed = [_expression(column) for column in before if column not in now]
    parts = [f"{verb} {', '.join(columns)}" for verb, columns in (("added", added), ("removed", removed)) if columns]
    return "; ".join(parts) or "another order"


def _expression(column: str) -> str:
    """Of "Column<'max(temp) AS max_temp'>" what the user wrote."""
    return column.removeprefix("Column<'").removesuffix("'>")
