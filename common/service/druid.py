"""Druid's router as every client of it is set up: the address, the user, the CA, and what is said when it refuses.

DruidError             its text is for the user
├── NotReachable       nothing accepts a connection
├── NoAnswer           there is no answer in time
└── Denied             the user or a certificate is not accepted: to ask again changes nothing
"""

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import requests
from requests.auth import HTTPBasicAuth

from service.settings import BadSetting, optional_text, url

E = TypeVar("E", bound=BaseException)


class DruidError(Exception):
    """Druid doesn't answer as expected; the text says what it does instead."""


class NotReachable(DruidError):
    """Nothing accepts a connection; the text is the reason."""


class NoAnswer(DruidError):
    """There is no answer in time; the text is the time."""


class Denied(DruidError):
    """The user or a certificate is not accepted; the text is a sentence with the setting to look at."""


@dataclass(frozen=True, kw_only=True)
class DruidSettings:
    """The settings of a service that asks Druid; see service.settings.checked()."""

    druid_url: str = url()
    druid_user: str = optional_text()  # empty: Druid asks for none
    druid_password_file: str = optional_text()
    druid_ca_file: str = optional_text()  # empty: the public CAs


class Router:
    """The router of a Druid cluster, which answers for the cluster's other servers."""

    def __init__(self, settings: DruidSettings) -> None:
        """Read the files of the settings. Raises BadSetting."""
        self.url = settings.druid_url
        self._settings = settings
        self._session = requests.Session()
        # Druid is on this machine or in its network: a proxy for the internet, in `http_proxy`, can't reach it.
        self._session.trust_env = False
        if bool(settings.druid_user) != bool(settings.druid_password_file):
            raise BadSetting(
                f"DRUID_USER is {settings.druid_user!r} and DRUID_PASSWORD_FILE is {settings.druid_password_file!r}:"
                " set both, or none for a Druid without a login."
            )
        if settings.druid_user:
            password = _password(settings.druid_password_file)
            self._session.auth = HTTPBasicAuth(settings.druid_user.encode(), password.encode())  # a text: in Latin-1
        if settings.druid_ca_file:
            self._session.verify = _ca(settings.druid_ca_file)

    def request(self, method: str, path: str, timeout: float, **options: Any) -> requests.Response:
        """Druid's answer, which may be an error. `options` are those of requests.request(). Raises DruidError."""
        try:
            response = self._session.request(method, self.url + path, timeout=timeout, **options)
        except requests.Timeout as error:
            raise NoAnswer(f"no answer within {timeout:g} s") from error
        except requests.exceptions.SSLError as error:
            raise Denied(self._tls_failure(error)) from error
        except requests.ConnectionError as error:
            unknown = _cause(error, socket.gaierror)
            raise NotReachable("its name can't be resolved" if unknown else "it accepts no connection") from error
        except requests.RequestException as error:
            raise DruidError(type(error).__name__) from error
        if response.status_code == 401:
            raise Denied(self._unauthorized())
        if response.status_code == 403:
            raise Denied(self._forbidden(method, path))
        return response

    def _unauthorized(self) -> str:
        user, file = self._settings.druid_user, self._settings.druid_password_file
        if not user:
            return f"Druid at {self.url} asks for a user and a password: set DRUID_USER and DRUID_PASSWORD_FILE."
        return (
            f"Druid at {self.url} does not accept the user {user} with the password in {file}: check DRUID_USER and"
            " DRUID_PASSWORD_FILE."
        )

    def _forbidden(self, method: str, path: str) -> str:
        user = self._settings.druid_user
        return (
            f"Druid at {self.url} does not let {f'the user {user}' if user else 'a client without a user'} use"
            f" {method} {path}: check DRUID_USER, and give it the rights in docs/operations.md."
        )

    def _tls_failure(self, error: BaseException) -> str:
        if refused := _cause(error, ssl.SSLCertVerificationError):
            known = self._settings.druid_ca_file or "the public CAs"
            return (
                f"Druid's certificate at {self.url} is not valid for {known} ({refused.verify_message}): check"
                " DRUID_URL and DRUID_CA_FILE, which must hold the CA that has signed the certificate."
            )
        seen = _cause(error, ssl.SSLError)
        return f"Druid at {self.url} does not speak TLS ({seen.reason if seen else error}): check DRUID_URL."


def _password(file: str) -> str:
    try:
        password = Path(file).read_text(encoding="utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise BadSetting(f"DRUID_PASSWORD_FILE is {file!r}: it must be a text in UTF-8.") from None
    except OSError as error:
        raise BadSetting(f"DRUID_PASSWORD_FILE is {file!r}: it can't be read ({error.strerror}).") from None
    if not password:
        raise BadSetting(f"DRUID_PASSWORD_FILE is {file!r}: the file must hold the password, and it is empty.")
    return password


def _ca(file: str) -> str:
    """The path, if it is that of certificates."""
    try:
        ssl.create_default_context(cafile=file)
    except ssl.SSLError as error:
        raise BadSetting(
            f"DRUID_CA_FILE is {file!r}: it must be a file of certificates in PEM form ({error.reason or error})."
        ) from None
    except OSError as error:
        raise BadSetting(f"DRUID_CA_FILE is {file!r}: it can't be read ({error.strerror}).") from None
    return file


def _cause(error: BaseException | None, kind: type[E]) -> E | None:
    """The first error of a kind among those that led to `error`."""
    while error is not None:
        if isinstance(error, kind):
            return error
        error = error.__cause__ or error.__context__
    return None
