"""URLs that root may request on behalf of a run: the host reaches more than its client does."""

from __future__ import annotations

import re
import urllib.parse
from typing import TYPE_CHECKING, Any

from celeriac_host.policy.refusal import Refused, one_of, shown

if TYPE_CHECKING:
    from celeriac_host.policy.scene import Scene

RULE = "urls"
PLAIN = re.compile(r"https?://[A-Za-z0-9.:\[\]_-]+/[!-~]*")


def allowed(value: Any, scene: Scene) -> None:
    """Raises Refused unless the policy names the URL, or what it begins with."""
    if not isinstance(value, str) or len(value) > 4096:
        raise Refused(RULE, "expected a URL")
    whole = value if "/" in value.partition("://")[2] else value + "/"
    path = urllib.parse.unquote(whole.partition("?")[0].partition("#")[0])
    known = PLAIN.fullmatch(whole) and "\\" not in path
    if not known or re.search(r"/\.\.?(?:/|$)", path) or not _is_named(whole, scene):
        told = shown(whole.partition("?")[0])
        raise Refused(RULE, f"{told} is not {one_of(scene.policy.urls)}")


def _is_named(whole: str, scene: Scene) -> bool:
    plain = whole.partition("?")[0]
    return any(
        plain == each or (each.endswith("/") and whole.startswith(each))
        for each in scene.policy.urls
    )
