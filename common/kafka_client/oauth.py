"""Tokens for OAUTHBEARER: from a file, or from an authorization server by the client's id and secret.

The latter is the client credentials grant of RFC 6749, section 4.4.
"""

import base64
import json
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from kafka.net.sasl.oauth import AbstractTokenProvider

TIMEOUT = 10  # seconds for the authorization server's answer
MARGIN = 60  # seconds before its end in which a token is replaced


class Tokens(AbstractTokenProvider):
    """The tokens of one client, kept as long as they are valid."""

    def __init__(self, endpoint: str, login: Mapping[str, str]) -> None:
        """`login` are the options clientId, clientSecret and scope of sasl.jaas.config."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._endpoint = endpoint
        self._login = login
        self._token = ""
        self._valid_until = 0.0  # by the monotonic clock

    def token(self) -> str:
        """A valid token. Raises OSError and ValueError; kafka-python then tries again."""
        if time.monotonic() >= self._valid_until:
            self._token, seconds = self._ask()
            self._valid_until = time.monotonic() + max(0.0, seconds - MARGIN)
        return self._token

    def _ask(self) -> tuple[str, float]:
        """A token and for how many seconds it is valid: a file may change at any time."""
        with urllib.request.urlopen(self._request(), timeout=TIMEOUT) as answer:
            text = answer.read().decode()
        if self._endpoint.startswith("file:"):
            return text.strip(), 0
        answer = json.loads(text)
        return str(answer["access_token"]), float(answer.get("expires_in", 0))

    def _request(self) -> Any:
        if self._endpoint.startswith("file:"):
            return self._endpoint
        scope = {"scope": self._login["scope"]} if self._login.get("scope") else {}
        form = urllib.parse.urlencode({"grant_type": "client_credentials", **scope})
        user = f"{self._login['clientId']}:{self._login['clientSecret']}".encode()
        headers = {"Authorization": f"Basic {base64.b64encode(user).decode()}"}
        return urllib.request.Request(self._endpoint, form.encode(), headers)
