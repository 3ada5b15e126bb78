"""For the unit tests: what the developer's shell sets doesn't count."""

import pytest
from local_stack.env_file import env_file
from local_stack.services import doctor, ledger, services

ROWS = (*services({"WITH_DASHBOARD": "1"}).values(), ledger({}), doctor({}))
SETTINGS = {*env_file({}), *(name for row in ROWS for name in row.settings)}


@pytest.fixture(autouse=True)
def no_settings_of_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
