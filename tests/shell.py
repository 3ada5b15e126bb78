"""The settings of a stack, which tests don't take from the developer's shell."""

from local_stack.env_file import env_file
from local_stack.services import doctor, ledger, services
from local_stack.settings import CLUSTER, WITH_DASHBOARD

ROWS = (*services({WITH_DASHBOARD: "1"}).values(), ledger({}), doctor({}))
# MAKEFLAGS: `make e2e WORKERS=1` would give WORKERS to each make that a test starts.
SETTINGS = {CLUSTER, WITH_DASHBOARD, "MAKEFLAGS", *env_file({}), *(name for row in ROWS for name in row.settings)}
