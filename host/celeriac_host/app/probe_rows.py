"""Has the app remove or mark what a probe made: only the app knows all of it.

The ids are those of the app's own answer, or of the task that was sent.
"""

from __future__ import annotations

import json
import re
import urllib.parse
from typing import Any

REQUEST_SECONDS = 15.0
ANSWER_BYTES = 4096
STILL_RUNS = "the job may still run"
FIELD = re.compile(r"\{([\w.-]+)\}")


def clean(request: dict[str, Any], fields: Any, base: str) -> str | None:
    """None: done; otherwise why not. `fields` fill the URL, which may be relative to `base`."""
    # Most probes need nothing removed.
    from celeriac_host.system.http import fetch

    try:
        url = urllib.parse.urljoin(base, filled(request["url"], fields))
    except KeyError as error:
        return f"the response has no field {error.args[0]!r}"
    form = request["form"] if request["method"] == "POST" else None
    answer = fetch(url, REQUEST_SECONDS, request["method"], form, ANSWER_BYTES)
    if answer["error"] is not None:
        return str(answer["error"])
    if 200 <= answer["status"] < 300:
        return None
    return f"answered HTTP {answer['status']}"


def filled(template: str, fields: Any) -> str:
    """`{name}` → that field, quoted. Raises KeyError."""

    def value(match: re.Match[str]) -> str:
        found = as_text(field(fields, match.group(1)))
        # An empty one would name all of them.
        if not found or found in (".", ".."):
            raise KeyError(match.group(1))
        return urllib.parse.quote(found, safe="")

    return FIELD.sub(value, template)


def field(body: Any, path: str) -> Any:
    """The value at a dotted path; None if there is none."""
    for name in path.split(".") if path else ():
        if isinstance(body, list) and name.isdigit() and int(name) < len(body):
            body = body[int(name)]
        elif isinstance(body, dict):
            body = body.get(name)
        else:
            return None
    return body


def as_text(value: Any) -> str | None:
    """A scalar as JSON, but a string without quotes."""
    if value is None or isinstance(value, (dict, list)):
        return None
    return value if isinstance(value, str) else json.dumps(value)
