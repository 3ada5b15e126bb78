"""Druid's HTTP API, and what can go wrong with it.

RegistrationError      its text is for the user
├── NotReady           what is asked for is not there yet, or there is no answer: ask again
├── Refused            Druid refuses the request; the text is Druid's reason
└── DataMismatch       Druid's data and Kafka's topic don't belong together
"""

from typing import Any

import requests
from service.druid import Denied, DruidError, DruidSettings, Router

REQUEST_TIMEOUT = 15  # seconds
RETRYABLE = (404, 408, 429)  # of the client errors, those that pass; 404 comes from a server that is just starting


class RegistrationError(Exception):
    """A supervisor can't be registered."""


class NotReady(RegistrationError):
    """What is asked for is not there yet; the text says what is there instead."""


class Refused(RegistrationError):
    """Druid refuses a request; the text is Druid's reason."""


class DataMismatch(RegistrationError):
    """A datasource was read from another topic than the one that exists now."""


class Druid:
    """Druid's API, by its router. The constructor raises BadSetting."""

    def __init__(self, settings: DruidSettings) -> None:
        self._router = Router(settings)

    def ask(self, method: str, path: str, **options: Any) -> Any:
        """Druid's JSON answer, None where it is empty. `options` are those of requests.request().

        Raises NotReady when there is no such answer, Refused when Druid finds fault with the request, Denied when it
        doesn't accept the client.
        """
        try:
            response = self._router.request(method, path, REQUEST_TIMEOUT, **options)
        except Denied:
            raise
        except DruidError as error:
            raise NotReady(f"Druid does not answer at {self._router.url} ({error}): check DRUID_URL") from error
        if 400 <= response.status_code < 500 and response.status_code not in RETRYABLE:
            raise Refused(reason(response))
        if not response.ok:
            raise NotReady(f"{path} answered {response.status_code}: {reason(response)}")
        try:
            return response.json() if response.content else None
        except ValueError as error:
            raise NotReady(f"the answer to {path} is not JSON: {response.text[:200]!r}") from error


def reason(response: requests.Response) -> str:
    """Druid's own explanation of an error."""
    try:
        answer = response.json()
        return str(answer.get("errorMessage") or answer.get("error") or answer)
    except (ValueError, AttributeError):
        return response.text.strip()[:500] or response.reason
