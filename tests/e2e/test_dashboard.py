"""The dashboard: every chart has rows, an unknown datasource is an empty chart, and a browser shows no error."""

import json
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from browser import CHROMIUM, Browser
from pipeline import PORTS, Pipeline, poll_until

pytestmark = [pytest.mark.dashboard, pytest.mark.timeout(2400)]
ADDRESS = f"http://localhost:{PORTS['DASHBOARD_PORT']}"
LEFT_OUT = "Late readings and rejected records by reason"
INSTALLATION = 1800  # seconds; Superset is large
FAULTS = {"LATE_SHARE": "0.05", "MALFORMED_SHARE": "0.05"}
POSITIONS = {"SIGNALS": "temp, humidity, latitude, longitude"}


@dataclass
class Dashboard:
    pipeline: Pipeline
    said: str  # by the first `make dashboard`

    @property
    def file(self) -> Path:
        return self.pipeline.folder / "data/dashboard/password"

    def api(self) -> requests.Session:
        session = requests.Session()
        login = {"username": "admin", "password": self.file.read_text().strip(), "provider": "db"}
        token = session.post(f"{ADDRESS}/api/v1/security/login", json=login, timeout=60).json()["access_token"]
        session.headers["Authorization"] = f"Bearer {token}"
        return session

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """What each chart's query returns, by the chart's title."""
        session = self.api()
        found = session.get(f"{ADDRESS}/api/v1/chart/?q=(page_size:100)", timeout=60).json()["result"]
        charts = [session.get(f"{ADDRESS}/api/v1/chart/{each['id']}", timeout=60).json()["result"] for each in found]
        datasets = {each["id"]: each["datasource_id"] for each in found}
        rows = {}
        for chart in charts:
            request = query_context(json.loads(chart["params"]), datasets[chart["id"]])
            answer = session.post(f"{ADDRESS}/api/v1/chart/data", json=request, timeout=60)
            assert answer.ok, (chart["slice_name"], answer.text)
            rows[chart["slice_name"]] = answer.json()["result"][0]["data"]
        return rows


def query_context(params: dict[str, Any], dataset: int) -> dict[str, Any]:
    """A chart's query, as the browser makes it from the chart's parameters."""
    columns: list[Any] = [params[each] for each in ("entity", "series") if each in params]
    columns += [*params.get("groupby", ()), *([params["x_axis"]] if "x_axis" in params else ())]
    metrics = [params[each] for each in ("metric", "x", "y", "size") if each in params]
    query = {
        "columns": columns,
        "metrics": [*metrics, *params.get("metrics", ()), *params.get("metrics_b", ())],
        "time_range": params["time_range"],
        "row_limit": 10000,
    }
    return {"datasource": {"id": dataset, "type": "table"}, "queries": [query], "result_format": "json"}


def filtered(browser: Browser) -> set[str]:
    """The titles of the charts that the browser has asked for with a filter for the vehicle."""
    sent = [event["params"]["request"] for event in browser.events if event["method"] == "Network.requestWillBeSent"]
    asked = [json.loads(each["postData"]) for each in sent if "/chart/data?" in each["url"]]
    found = set()
    for each in asked:
        if any(one["col"] == "entity" for query in each["queries"] for one in query["filters"]):
            chart = each["form_data"]["slice_id"]
            title = f"document.querySelector('.dashboard-chart-id-{chart}').innerText"
            found.add(str(browser.evaluate(title)).strip().splitlines()[0])
    return found


@pytest.fixture(scope="module")
def dashboard(pipeline: Pipeline) -> Iterator[Dashboard]:
    """A dashboard on a stack without a late reading or a rejected record."""
    pipeline.started("reset")
    pipeline.started("run", **POSITIONS)
    made = pipeline.make("dashboard", timeout=INSTALLATION)
    assert made.returncode == 0, made.stdout
    yield Dashboard(pipeline, made.stdout)
    pipeline.started("reset")


def test_the_password_is_printed_once_and_only_its_owner_reads_the_file(dashboard: Dashboard) -> None:
    password = dashboard.file.read_text().strip()
    assert len(password) >= 32
    assert f"The password is {password}" in dashboard.said
    assert f"The dashboard is at {ADDRESS}" in dashboard.said
    before = dashboard.pipeline.processes()
    again = dashboard.pipeline.started("dashboard")
    assert password not in again
    assert str(dashboard.file) in again
    assert dashboard.pipeline.processes() == before
    assert stat.S_IMODE(dashboard.file.stat().st_mode) == 0o600


def test_nobody_sees_anything_without_the_password(dashboard: Dashboard) -> None:
    assert requests.get(f"{ADDRESS}/api/v1/chart/", timeout=60).status_code == 401
    page = requests.get(ADDRESS, timeout=60)
    assert page.url.startswith(f"{ADDRESS}/login/")


def test_a_chart_of_datasources_that_druid_does_not_know_is_empty(dashboard: Dashboard) -> None:
    rows = dashboard.rows()
    assert rows.pop(LEFT_OUT) == []
    assert all(rows.values()), rows


def test_every_chart_has_rows_when_there_are_late_readings_and_rejected_records(dashboard: Dashboard) -> None:
    dashboard.pipeline.started("run", SCRIPT_DURATION="30", LATE_BY="20", **FAULTS, **POSITIONS)

    def complete() -> dict[str, Any] | None:
        rows = dashboard.rows()
        return rows if all(rows.values()) else None

    rows = poll_until("rows in every chart", complete, 60)
    assert len({row["reason"] for row in rows[LEFT_OUT]} - {"late"}) > 1
    assert "late" in {row["reason"] for row in rows[LEFT_OUT]}
    [vehicles] = rows["Vehicles"]
    assert vehicles == {"vehicles": 50}


def test_a_browser_shows_every_chart_with_data_and_no_error(dashboard: Dashboard, tmp_path: Path) -> None:
    if not CHROMIUM:
        pytest.skip("the charts' queries are checked; how they look can't be, as Chromium is not installed")
    with ExitStack() as stack:
        browser = stack.enter_context(Browser(1600, 2000))
        browser("Page.navigate", url=ADDRESS)
        poll_until("the login", lambda: browser.evaluate("!!document.querySelector('#password')"), 60)
        browser.type("#username", "admin")
        browser.type("#password", dashboard.file.read_text().strip())
        enter = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
        browser("Input.dispatchKeyEvent", type="keyDown", **enter)
        titles = set(dashboard.rows())
        drawn = "document.querySelectorAll('.dashboard-chart canvas, .dashboard-chart .header-line').length"
        poll_until("every chart", lambda: browser.evaluate(drawn) >= len(titles), 120)
        browser.wait(12)  # the dashboard has renewed itself
        browser.screenshot(dashboard.pipeline.folder / "dashboard.png")
        shown = browser.evaluate("document.body.innerText")
        assert {title for title in titles if title not in shown} == set()
        assert "No results" not in shown and "Error" not in shown
        assert browser.errors() == []
        assert filtered(browser) == {"Temperature and humidity of one vehicle", "Track of one vehicle"}
        assert {url for url in browser.requested() if not url.startswith((ADDRESS, "data:", "blob:"))} == set()
