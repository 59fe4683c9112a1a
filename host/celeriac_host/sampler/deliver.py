"""Sends one event to the owner's webhook.

tell EVENT    one POST of JSON, with a `text` that Slack and others show; EVENT is base64 of JSON
"""

from __future__ import annotations

import binascii
import errno
import ipaddress
import json
import os
import stat
import sys
import time
import urllib.parse
from typing import Any, Sequence

from celeriac_host.state import textfile, webhook
from celeriac_host.system import http, owned
from celeriac_host.system.errors import OperationError

URL_LIMIT_BYTES = 4096
TIMEOUT_SECONDS = 10.0


def main(words: Sequence[str]) -> None:
    problem = deliver(json.loads(binascii.a2b_base64(words[1])))
    if problem is not None:
        sys.exit(f"<4>celeriac: the webhook was not told: {problem}")


def deliver(event: dict[str, Any]) -> str | None:
    """Returns the problem, in which the URL never appears."""
    try:
        url = read_url()
    except OperationError as error:
        return error.message
    host = os.uname().nodename
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(float(event["at"])))
    text = f"Celeriac on {host}: {event['unit']} {event['what']}"
    body = {"text": text, "host": host, "unit": event["unit"], "what": event["what"], "when": at}
    answer = http.fetch(url, TIMEOUT_SECONDS, "POST", data=body, redirects=False)
    if answer["error"] is not None:
        return _harmless(answer["error"])
    return None if 200 <= answer["status"] < 300 else f"it answered with status {answer['status']}"


# Those of http.client and ssl may repeat parts of the URL.
KNOWN = {
    "name or service not known",
    "temporary failure in name resolution",
    *(os.strerror(number).lower() for number in errno.errorcode),
}


def _harmless(reason: str) -> str:
    known = reason.startswith("no answer within ") or reason in KNOWN
    if "certificate verify failed" in reason:
        return "its certificate is not trusted"
    return reason if known else "the request failed"


def read_url() -> str:
    """Raises OperationError, without the URL."""
    where = webhook.SETTING
    textfile.require_root(os.path.dirname(where))
    with owned.opened(where) as found:
        mode = found.about.st_mode
        if not owned.only_root_writes(found.about) or stat.S_IMODE(mode) & 0o077:
            raise OperationError(f"{where} must belong to root, with mode 0600")
    lines = owned.read(where, URL_LIMIT_BYTES).decode("utf-8", "replace").split()
    if len(lines) != 1 or not _is_allowed(lines[0]):
        raise OperationError(
            f"{where} must have one line: a URL with https://, or http:// to this host itself"
        )
    return lines[0]


def _is_allowed(url: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(url)
        name, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    if parts.scheme == "https":
        return bool(name)
    return parts.scheme == "http" and _is_loopback(name)


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"
