"""The dashboard's files agree with the contract and with each other; and what its SQL becomes."""

import re
import stat
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dashboard as script
import install
import pytest
import yaml
from dashboards.datasources import columns, recent
from dashboards.secrets import keep
from local_stack import dashboard, folder, manager, settings, up
from local_stack.errors import StackError, Unhealthy
from local_stack.service import Process, Service
from repository import ROOT, assert_one_sentence
from service.contract import Topic, topics

ASSETS = ROOT / "superset/assets"
CONTRACT: dict[str, Topic] = {topic.datasource.name: topic for topic in topics().values() if topic.datasource}


def files(kind: str) -> dict[str, dict[str, Any]]:
    found = [yaml.safe_load(path.read_text()) for path in (ASSETS / kind).rglob("*.yaml")]
    assert found
    assert len({each["uuid"] for each in found}) == len(found)
    return {each["uuid"]: each for each in found}


DATASETS, CHARTS = files("datasets"), files("charts")
every_dataset = pytest.mark.parametrize("dataset", DATASETS.values(), ids=lambda each: str(each["table_name"]))
every_chart = pytest.mark.parametrize("chart", CHARTS.values(), ids=lambda each: str(each["slice_name"]))


def quoted(sql: str) -> set[str]:
    """The identifiers in SQL of ours, which quotes all of them."""
    return set(re.findall(r'"(\w+)"', sql))


def names(given: list[Any]) -> set[str]:
    """Those that are names: a column or a metric can also be an expression of the chart's own."""
    return {each for each in given if isinstance(each, str)}


@every_dataset
def test_a_dataset_names_columns_of_its_datasources_alone(dataset: dict[str, Any]) -> None:
    macro = r'\{\{ recent\(("[\w-]+"(?:, "[\w-]+")*)(?:, minutes=\d+)?\) \}\}'
    datasources = [name for names in re.findall(macro, dataset["sql"]) for name in re.findall(r'"([\w-]+)"', names)]
    assert datasources
    known = {column for name in datasources for column in columns(CONTRACT[name])}
    sql = re.sub(macro, "", dataset["sql"])
    assert "{" not in sql
    assert quoted(re.sub(r'AS "\w+"', "", sql)) <= known
    selected = {column["column_name"] for column in dataset["columns"]}
    assert selected <= quoted(sql)
    for metric in dataset["metrics"]:
        assert quoted(metric["expression"]) <= selected


@every_chart
def test_a_chart_names_columns_and_metrics_of_its_dataset(chart: dict[str, Any]) -> None:
    dataset, params = DATASETS[chart["dataset_uuid"]], chart["params"]
    named = [params.get(each) for each in ("x_axis", "x_axis_sort", "entity", "series")]
    named += [*params.get("groupby", ()), *params.get("groupby_b", ())]
    assert names(named) <= {column["column_name"] for column in dataset["columns"]}
    metrics = [params.get(each) for each in ("metric", "x", "y", "size")]
    metrics += [*params.get("metrics", ()), *params.get("metrics_b", ())]
    assert names(metrics) <= {metric["metric_name"] for metric in dataset["metrics"]}
    assert any(metrics)
    assert params["viz_type"] == chart["viz_type"]
    assert params["time_range"] == "No filter"  # the dataset's SQL follows the data


def test_the_dashboard_has_every_chart_once_and_renews_itself() -> None:
    [fleet] = files("dashboards").values()
    items = {name: each for name, each in fleet["position"].items() if isinstance(each, dict)}
    placed = [each["meta"]["uuid"] for each in items.values() if each["type"] == "CHART"]
    assert sorted(placed) == sorted(CHARTS)
    for name, item in items.items():
        for child in item.get("children", ()):
            assert items[child]["parents"] == [*item.get("parents", ()), name]
        if item["type"] == "ROW":
            assert sum(items[child]["meta"]["width"] for child in item["children"]) == 12
    assert fleet["metadata"]["refresh_frequency"] == 10
    [vehicle] = fleet["metadata"]["native_filter_configuration"]
    assert vehicle["scope"]["rootPath"][0] in items
    [target] = vehicle["targets"]
    assert target["column"]["name"] in {each["column_name"] for each in DATASETS[target["datasetUuid"]]["columns"]}


def test_the_charts_ask_the_druid_of_the_settings() -> None:
    [database] = files("databases").values()
    assert database["sqlalchemy_uri"] == script.druid_url.replace("http:", "druid:") + "/druid/v2/sql/"
    assert {each["database_uuid"] for each in DATASETS.values()} == {database["uuid"]}


class Seen:
    """Druid, with what it knows: the newest time of each datasource in seconds, and its columns, by default all."""

    def __init__(self, columns: set[str] | None = None, **newest: float) -> None:
        self._newest = {f"sensor-data-{role}": time for role, time in newest.items()}
        self._columns = columns

    def columns(self, datasource: str) -> set[str]:
        return (self._columns or {*columns(CONTRACT[datasource])}) if datasource in self._newest else set()

    def newest(self, datasource: str) -> datetime:
        return datetime.fromtimestamp(self._newest[datasource], UTC)


WINDOWS = '"__time", "window", "window_end", "entity", "count", "avg_temp", "min_temp", "max_temp", "last_humidity"'


def test_the_rows_are_those_before_the_newest_reading() -> None:
    assert recent(Seen(raw=1_764_070_200.5, aggregated=1_764_070_100))("sensor-data-aggregated", minutes=5) == (
        f'(SELECT {WINDOWS} FROM "sensor-data-aggregated" WHERE "__time" > TIMESTAMP \'2025-11-25 11:25:00\')'
    )


def test_datasources_are_read_together_as_far_as_druid_knows_them() -> None:
    both = "sensor-data-late", "sensor-data-rejected"
    sql = recent(Seen(late=1, rejected=2))(*both)
    assert sql.endswith(" FROM TABLE(APPEND('sensor-data-late', 'sensor-data-rejected')))")
    assert ' "watermark", "partition", "offset", "reason", "size", ' in sql
    assert recent(Seen(late=1))(*both).endswith(' FROM "sensor-data-late")')
    assert ', "offset", CAST(NULL AS VARCHAR) AS "reason", ' in recent(Seen(late=1))(*both)


def test_without_readings_the_rows_are_all() -> None:
    assert recent(Seen(aggregated=1_764_070_100))("sensor-data-aggregated") == (
        f'(SELECT {WINDOWS} FROM "sensor-data-aggregated")'
    )


def test_a_column_that_druid_does_not_know_is_empty() -> None:
    seen = Seen({"__time", "entity", "temp", "humidity", "vin"}, raw=1_764_070_200.5)
    sql = recent(seen)("sensor-data-raw")
    assert ', CAST(NULL AS BIGINT) AS "seq"' in sql
    assert sql.count("(NULL ") == len(columns(CONTRACT["sensor-data-raw"])) - 5
    assert sql.endswith("""FROM "sensor-data-raw" WHERE "__time" > TIMESTAMP '2025-11-25 11:15:00')""")


def test_a_datasource_that_druid_does_not_know_is_empty() -> None:
    assert recent(Seen(raw=1))("sensor-data-rejected") == (
        '(SELECT CURRENT_TIMESTAMP AS "__time", CAST(NULL AS BIGINT) AS "partition", CAST(NULL AS BIGINT) AS "offset",'
        ' CAST(NULL AS VARCHAR) AS "reason", CAST(NULL AS BIGINT) AS "size", CAST(NULL AS VARCHAR) AS "key",'
        ' CAST(NULL AS VARCHAR) AS "value", CAST(NULL AS VARCHAR) AS "value_base64"'
        " FROM (VALUES (0)) AS t(x) WHERE x = 1)"
    )
    assert 'CAST(NULL AS VARCHAR) AS "entity"' in recent(Seen())("sensor-data-raw")  # a text or an integer


def test_a_secret_is_kept_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    secret, is_new = keep(tmp_path / "password")
    assert is_new and len(secret) >= 32
    assert keep(tmp_path / "password") == (secret, False)
    assert stat.S_IMODE((tmp_path / "password").stat().st_mode) == 0o600
    (tmp_path / "password").write_text("")
    assert keep(tmp_path / "password")[1]


@pytest.fixture
def pythons(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """What the PATH has: scripts that print a version, or fail as pyenv's do."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(dashboard, "PYTHONS", ("python-a", "python-b"))
    monkeypatch.delenv("PYTHON", raising=False)

    def write(**versions: str) -> None:
        for name, version in versions.items():
            path = tmp_path / f"python-{name}"
            path.write_text(f"#!/bin/sh\necho {version}\n" if version else "#!/bin/sh\nexit 127\n")
            path.chmod(0o755)

    return write


def test_superset_runs_on_the_first_python_that_it_supports(pythons: Callable[..., None]) -> None:
    pythons(a="", b="3.11")
    assert dashboard.python() == "python-b"
    pythons(a="3.12")
    assert dashboard.python() == "python-a"


def test_a_python_that_the_user_names_comes_first(
    pythons: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    pythons(a="3.12", b="3.10")
    monkeypatch.setenv("PYTHON", "python-b")
    assert dashboard.python() == "python-b"


def test_pythons_that_are_too_new_or_too_old_are_named(pythons: Callable[..., None]) -> None:
    pythons(a="3.13", b="3.9")
    with pytest.raises(
        StackError, match=r"3\.12 .*there is none \(python-a is 3\.13, python-b is 3\.9\): install"
    ) as error:
        dashboard.python()
    assert_one_sentence(str(error.value))


def test_superset_is_installed_once_and_again_for_other_packages_or_without_its_python(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: list[str] = []

    def install_python(venv: Path, files: list[Path], python: str) -> None:
        assert [path.relative_to(tmp_path) for path in files] == [Path("superset/requirements.txt")]
        (venv / "bin").mkdir(parents=True, exist_ok=True)
        (venv / "bin/python").touch()
        made.append(python)

    monkeypatch.setattr(install, "install_python", install_python)
    monkeypatch.setattr(install, "ROOT", tmp_path)
    monkeypatch.setattr(install, "LOCAL", tmp_path)
    requirements = tmp_path / "superset/requirements.txt"
    requirements.parent.mkdir()
    for change in (
        lambda: requirements.write_text("apache-superset==6.1.0"),
        lambda: None,
        lambda: requirements.write_text("apache-superset==6.1.1"),
        (tmp_path / "venv/bin/python").unlink,
    ):
        change()
        install.install_superset(tmp_path / "venv", lambda: "python3.12")
    assert made == ["python3.12"] * 3


def test_the_dashboard_needs_a_running_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("processes", "members"):
        monkeypatch.setattr(manager, name, dict)
    with pytest.raises(StackError, match=r"^The stack is not running: `make up` starts it\.$"):
        dashboard.dashboard({})


def test_the_installation_does_not_count_for_the_time_of_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    now, answers = [1000.0], [False, True]

    def check(_: Process) -> str:
        if not answers.pop(0):
            raise Unhealthy("no answer")
        return "ready"

    def later(seconds: float) -> None:
        now[0] += seconds

    clock = SimpleNamespace(monotonic=lambda: now[0], sleep=later)
    password = {tmp_path / "password": "secret\n"}
    row = Service("dashboard", ["true"], tmp_path, check, ports={"DASHBOARD_PORT": 8088}, configuration=password)
    for module in (dashboard, up):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(dashboard, "services", lambda _: {"dashboard": row})
    monkeypatch.setattr(dashboard, "install_superset", lambda *_: later(up.START_LIMIT * 2))
    monkeypatch.setattr(manager, "processes", lambda: {"dashboard": Process("dashboard", "RUNNING", 1, 0, 0)})
    monkeypatch.setattr(manager, "add", lambda *_: None)
    monkeypatch.setattr(folder, "exclusive", nullcontext)
    monkeypatch.setattr(settings, "save", lambda _: None)
    dashboard.dashboard({})
    first, *_, last = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r" +0 s  dashboard +ready", first)
    assert last == "The password is secret"
