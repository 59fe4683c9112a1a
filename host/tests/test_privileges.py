"""`tools/privileges.py` notices each new place where root touches what may be another user's."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from typing import Any, Dict

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "privileges.py"


@pytest.fixture
def tool() -> Any:
    spec = importlib.util.spec_from_file_location("privileges_under_test", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SOURCE = '''
import os, subprocess
from celeriac_host.system.following import follow

KNOWN = os.path.isdir("/run")

class Thing:
    def look(self, host):
        def inner():
            return open("/x")
        host.run(["true"])
        return os.path.join("a", "b"), inner

def change(paths):
    list(map(os.unlink, paths))
    (os.rmdir if paths else os.fork)
    subprocess.Popen([], stdin=subprocess.DEVNULL)
    follow(None, [], print, 1)

def quiet():
    return os.getpid(), os.path.basename("/x"), os.fsdecode(b"x")
'''


def test_calls_by_function(tool: Any) -> None:
    found = {name: tool.calls_in(node) for name, node in tool.functions(ast.parse(SOURCE))}
    assert found == {
        "Thing.look": ["host.run", "open"],
        "change": ["follow", "os.fork", "os.rmdir", "os.unlink", "subprocess.Popen"],
        "quiet": [],
        "(module)": ["os.path.isdir"],
    }


REASONS: Dict[str, Any] = {"own": {"title": "Own", "whose": "root's", "safe": "so"}}
FOUND = {"a.py": {"look": ["os.lstat"], "do": ["os.open"]}}


def entry(why: str, *calls: str) -> Dict[str, Any]:
    return {"why": why, "calls": list(calls)}


def test_whatever_is_not_listed_is_told(tool: Any) -> None:
    known = {"a.py": {"look": entry("own", "os.lstat"), "do": entry("own", "os.open")}}
    assert tool.differences(FOUND, {"reasons": REASONS, "places": known}) == []

    told = tool.differences(
        FOUND, {"reasons": REASONS, "places": {"a.py": {"look": entry("own", "os.stat")}}}
    )
    assert told == [
        "new      a.py: do: os.open",
        "new      a.py: look: os.lstat",
        "gone     a.py: look: os.stat",
    ]
    told = tool.differences({}, {"reasons": REASONS, "places": known})
    assert told == ["gone     a.py: do", "gone     a.py: look"]


def test_what_is_added_has_no_reason_until_somebody_gives_one(tool: Any) -> None:
    known = {"a.py": {"do": entry("own", "os.open", "os.stat"), "gone": entry("own", "open")}}
    more = {"a.py": {**FOUND["a.py"], "do": ["os.chown", "os.open"]}}
    data = tool.merged(more, {"reasons": REASONS, "places": known})
    assert data["places"] == {
        "a.py": {"look": entry("?", "os.lstat"), "do": entry("?", "os.chown", "os.open")}
    }
    told = tool.differences(more, data)
    assert told[:2] == ["explain  a.py: do: os.chown, os.open", "explain  a.py: look: os.lstat"]
    # Fewer calls than before need no new reason.
    assert tool.merged({"a.py": {"do": ["os.open"]}}, {"reasons": REASONS, "places": known})[
        "places"
    ] == {"a.py": {"do": entry("own", "os.open")}}


def test_a_reason_is_one_that_is_explained(tool: Any) -> None:
    known = {"a.py": {"look": entry("trust me", "os.lstat"), "do": entry("own", "os.open")}}
    told = tool.differences(FOUND, {"reasons": REASONS, "places": known})
    assert told == ["reason   a.py: look: 'trust me' is not among the reasons"]


def test_the_page_has_each_place_once(tool: Any) -> None:
    data = tool.load()
    text = tool.page(data, f"before {tool.BEGIN} old {tool.END} after")
    assert text.startswith("before ") and text.endswith(" after") and " old " not in text
    for file, places in data["places"].items():
        for function in places:
            assert text.count(f"| `{file}` `{function}` |") == 1
