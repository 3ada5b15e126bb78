"""Superset's own database, its user, and the charts in assets/. A process of its own, because Superset logs a lot."""

from pathlib import Path

from flask_migrate import upgrade
from superset.app import create_app
from superset_config import settings

from dashboards.secrets import PASSWORD, keep
from dashboards.settings import USER

ASSETS = Path(__file__).resolve().parents[1] / "assets"


def provision() -> None:
    """Create or update Superset's database, and import the charts, which win over edits of the same ones."""
    with create_app().app_context():
        upgrade()
        # These need the application.
        from superset.commands.importers.v1.assets import ImportAssetsCommand  # noqa: PLC0415
        from superset.utils.core import override_user  # noqa: PLC0415

        from superset import appbuilder, security_manager  # type: ignore[attr-defined]  # noqa: PLC0415

        appbuilder.add_permissions(update_perms=True)
        security_manager.sync_role_definitions()
        if not security_manager.find_user(USER):
            role, password = security_manager.find_role("Admin"), keep(settings.folder / PASSWORD)[0]
            security_manager.add_user(USER, "Fleet", "Admin", f"{USER}@localhost", role, password)
        contents = {str(path.relative_to(ASSETS)): path.read_text() for path in sorted(ASSETS.rglob("*.yaml"))}
        with override_user(security_manager.find_user(USER)):
            ImportAssetsCommand(contents).run()


if __name__ == "__main__":
    provision()
