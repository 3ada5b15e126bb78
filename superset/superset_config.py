"""The configuration of Superset, which imports this module. Its names are Superset's."""

import logging
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dashboard
from dashboards.datasources import InDruid, recent
from dashboards.secrets import KEY, keep
from dashboards.settings import Settings
from flask import Flask, Response, redirect, request
from flask_appbuilder import IndexView, expose
from service.druid import Router
from service.settings import checked, from_constants
from sqlalchemy.engine.url import URL
from superset.utils.log import AbstractEventLogger

settings = checked(from_constants(Settings, vars(dashboard)), os.environ)

SECRET_KEY = keep(settings.folder / KEY)[0]
SQLALCHEMY_DATABASE_URI = f"sqlite:///{settings.folder / 'superset.db'}"
SESSION_COOKIE_NAME = "sensor-data-dashboard"  # cookies of localhost are the same for all ports
LOG_LEVEL = logging.WARNING

# The datasets' SQL calls recent(). Only the admin can edit it.
FEATURE_FLAGS = {"ENABLE_TEMPLATE_PROCESSING": True}
JINJA_CONTEXT_ADDONS = {"recent": recent(InDruid(Router(settings)))}

# The browser asks this server only.
TALISMAN_CONFIG = {
    "content_security_policy": {
        "default-src": ["'self'"],
        "base-uri": ["'self'"],
        "img-src": ["'self'", "blob:", "data:"],
        "worker-src": ["'self'", "blob:"],
        "object-src": "'none'",
        "style-src": ["'self'", "'unsafe-inline'"],
        "script-src": ["'self'", "'strict-dynamic'"],
    },
    "content_security_policy_nonce_in": ["script-src"],
    "force_https": False,
    "session_cookie_secure": False,
}
TELEMETRY = b"https://apachesuperset.gateway.scarf.sh/pixel/"


class EventLogger(AbstractEventLogger):  # type: ignore[misc]
    """Keeps nothing: by default, each query of a chart is a row in Superset's database."""

    def log(self, *arguments: Any, **more: Any) -> None: ...


EVENT_LOGGER = EventLogger()


class Index(IndexView):  # type: ignore[misc]
    """The first page, which is the dashboard."""

    @expose("/")  # type: ignore[untyped-decorator]
    def index(self) -> Response:
        return redirect("/superset/dashboard/fleet/")


FAB_INDEX_VIEW = f"{Index.__module__}.{Index.__name__}"


def DB_CONNECTION_MUTATOR(uri: URL, parameters: dict[str, Any], *_: Any) -> tuple[URL, dict[str, Any]]:
    """Druid's address and user are settings: neither assets/ nor Superset's database holds them."""
    druid = urlsplit(settings.druid_url)
    user, file = settings.druid_user or None, settings.druid_password_file
    uri = uri.set(
        drivername="druid+https" if druid.scheme == "https" else "druid",
        username=user,
        password=Path(file).read_text(encoding="utf-8").rstrip("\r\n") if user else None,
        host=druid.hostname,
        port=druid.port or (443 if druid.scheme == "https" else 80),
        database=f"{druid.path}/druid/v2/sql/".lstrip("/"),
    )
    arguments = {"context": {"useApproximateCountDistinct": False}, "ssl_verify_cert": settings.druid_ca_file or True}
    return uri, {**parameters, "connect_args": arguments}


def FLASK_APP_MUTATOR(app: Flask) -> None:
    """Superset's pages load an image from another server to count their users. Here it is an empty one."""

    @app.after_request  # type: ignore[untyped-decorator]
    def without_telemetry(response: Response) -> Response:
        if request.path.startswith("/static/assets/") and response.mimetype.endswith("javascript"):
            response.direct_passthrough = False
            if TELEMETRY in (script := response.get_data()):
                response.set_data(script.replace(TELEMETRY, b"data:,"))
        return response
