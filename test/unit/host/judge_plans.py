"""Judges plans by the policy of a host that has their facts: [{policy, support, unit, operations}].

Prints the refusal of each, or null. Nothing of this machine is looked at.
"""

import importlib
import json
import os
import shlex
import sys
from contextlib import ExitStack
from typing import Any, Dict, List, Optional
from unittest import mock

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../host"))


def module(name: str) -> Any:
    return importlib.import_module("celeriac_host." + name)


def loaded(unit: Dict[str, Any]) -> Any:
    """The unit as systemd would have loaded these texts."""
    text, scene = module("policy.unit_text"), module("policy.scene")
    fragment = unit["fragment"].get("text") or ""
    parts = [text.Part(unit["fragmentPath"], fragment)]
    parts += [text.Part(each["path"], each["text"]) for each in unit["dropIns"]]
    lines = [line for part in parts for line in text.parse(part.text)]
    found = [line.value for line in lines if (line.section, line.key) == text.EXEC_START]
    seen = dict(unit["properties"])
    for command in text.effective(found):
        argv = shlex.split(command.lstrip("-@:+!"))
        shown = f"path={argv[0]} ; argv[]={' '.join(argv)}"
        seen["ExecStart"] = f"{{ {shown} ; ignore_errors=no ; }}"
    return scene.Loaded(unit["name"], seen, parts)


def judge(case: Dict[str, Any]) -> Optional[str]:
    document, scenes = module("policy.document"), module("policy.scene")
    app_line, places = module("policy.app_line"), module("policy.places")
    operations, refusal = module("policy.operations"), module("policy.refusal")
    unit = case["unit"]
    policy = document.parse(json.dumps(case["policy"]).encode())
    sources = {places.SUPPORT_SOURCE: case["support"]}
    scene = scenes.Scene(policy, module("system.system").System("/nonexistent"), sources, "change")
    scene.operations = case["operations"]
    programs = {} if unit is None else unit["programs"]
    words = [] if unit is None else [each["argv"] for each in unit["processes"]]

    def start_of(path: str) -> Optional[str]:
        about = programs.get(path)
        if about is None or not about["exists"]:
            return None
        return str(about.get("script") or about["shebang"] or "")

    class Main:
        argv: List[str] = words[0] if words else []
        start_ticks = -1

    searched = (unit or {}).get("variables", {}).get("PATH", "").split(":")
    patches = [
        mock.patch.object(app_line, "_start_of", start_of),
        mock.patch.object(app_line.Line, "_search_path", lambda self: searched),
        mock.patch.object(app_line.processes, "read", lambda pid: Main if words else None),
        mock.patch.object(places, "require_roots", lambda *args, **more: None),
        mock.patch.object(places, "require_roots_if_there", lambda *args: None),
        mock.patch.object(places.trusted, "read", lambda *args: case.get("fstab", "").encode()),
        mock.patch.object(os, "lstat", lambda path: mock.Mock(st_mode=0o100644)),
    ]
    with ExitStack() as stack:
        for patch in patches:
            stack.enter_context(patch)
        try:
            if unit is not None:
                scene._loaded[unit["name"]] = loaded(unit)
            for operation in case["operations"]:
                operations.judge(operation, scene)
        except refusal.Refused as refused:
            return str(refused)
    return None


if __name__ == "__main__":
    print(json.dumps([judge(case) for case in json.load(sys.stdin)]))
