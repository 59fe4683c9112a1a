"""Checks that every place where root touches what may be another user's is known and explained.

Finds the calls in `host/celeriac_host` that open, look at, change, remove, execute or wait for
something, by function. Each function is listed in `tools/privileges.json` with its calls and the
reason for which they are safe. The page `docs/explanation/privileges.md` is made from that.

    python3 tools/privileges.py            says what is new, gone or not explained
    python3 tools/privileges.py --write    adds and removes entries, and writes the page;
                                           new ones have the reason `?` and fail the check
"""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "host" / "celeriac_host"
DATA = ROOT / "tools" / "privileges.json"
PAGE = ROOT / "docs" / "explanation" / "privileges.md"
# What the app's own interpreter runs, as the app's user: never root's.
NOT_ROOT = "app/programs/"
UNKNOWN = "?"
BEGIN, END = "<!-- places -->", "<!-- /places -->"

OS = [
    "open",
    "stat",
    "lstat",
    "access",
    "readlink",
    "listdir",
    "scandir",
    "walk",
    "statvfs",
    "chown",
    "lchown",
    "fchown",
    "chmod",
    "fchmod",
    "rename",
    "replace",
    "unlink",
    "remove",
    "rmdir",
    "mkdir",
    "makedirs",
    "symlink",
    "link",
    "utime",
    "truncate",
    "getxattr",
    "setxattr",
    "listxattr",
    "removexattr",
    "mkfifo",
    "mknod",
    "fork",
    "forkpty",
    "popen",
    "system",
    "kill",
    "killpg",
    "pidfd_open",
    "waitpid",
    "waitid",
    "wait",
    "wait3",
    "wait4",
    "setuid",
    "setgid",
    "setgroups",
    "setresuid",
    "chdir",
    "fchdir",
    "chroot",
]
PATH = [
    "exists",
    "lexists",
    "isdir",
    "isfile",
    "islink",
    "ismount",
    "realpath",
    "getsize",
    "getmtime",
    "samefile",
]
FILES = [
    "regular",
    "read",
    "text",
    "find",
    "write",
    "overwrite",
    "remove",
    "remove_tree",
    "remove_byte_code",
    "make_folders",
    "missing_folders",
    "names",
    "remove_folders",
    "sync_folder",
    "sweep",
    "temporary",
    "sha256_of",
]
WATCHED = re.compile(
    r"open"
    rf"|os\.(?:{'|'.join(OS)}|exec\w+|spawn\w+|posix_spawnp?)"
    rf"|os\.path\.(?:{'|'.join(PATH)})"
    rf"|files\.(?:{'|'.join(FILES)})"
    r"|(?:owned\.)?(?:opened)|owned\.read"
    r"|(?:glob|shutil|subprocess|tempfile)\.\w+"
    r"|tarfile\.open|sqlite3\.connect|fcntl\.(?:flock|lockf)|signal\.pidfd_send_signal"
    r"|follow|Dialogue|(?:listener|questions)\.ask|child\.start|control|(?:[\w.]+\.)?(?:run|run_as)"
    r"|units\.(?:control|reload)"
    r"|_opener\(\)\.open|socket\.\w*connect\w*"
)
# Named like the others, and no calls of this kind.
NOT_WATCHED = re.compile(
    r"(?:subprocess|glob)\.(?:SubprocessError|TimeoutExpired|PIPE|DEVNULL|escape)"
)

Calls = Dict[str, Dict[str, List[str]]]


def name_of(node: ast.expr) -> str:
    """`os.path.isdir` of a called expression; empty if it is no such name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        above = name_of(node.value)
        return f"{above}.{node.attr}" if above else ""
    if isinstance(node, ast.Call):
        return f"{name_of(node.func)}()"
    return ""


def functions(tree: ast.Module) -> Iterator[Tuple[str, ast.AST]]:
    """Functions and methods; what is nested belongs to them, the rest to `(module)`."""
    rest: List[ast.AST] = []
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            for each in node.body:
                if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    yield f"{node.name}.{each.name}", each
                else:
                    rest.append(each)
        else:
            rest.append(node)
    yield "(module)", ast.Module(body=rest, type_ignores=[])  # type: ignore[arg-type]


def calls_in(node: ast.AST) -> List[str]:
    """What is called or handed on, e.g. as the opener of `open`."""
    found = {name_of(each.func) for each in ast.walk(node) if isinstance(each, ast.Call)}
    found |= {name_of(each) for each in ast.walk(node) if isinstance(each, ast.Attribute)}
    return sorted(
        each for each in found if WATCHED.fullmatch(each) and not NOT_WATCHED.fullmatch(each)
    )


def scan() -> Calls:
    """File → function → calls."""
    found: Calls = {}
    for path in sorted(SOURCES.rglob("*.py")):
        name = path.relative_to(SOURCES).as_posix()
        if name.startswith(NOT_ROOT):
            continue
        for function, node in functions(ast.parse(path.read_text(encoding="utf-8"))):
            calls = calls_in(node)
            if calls:
                found.setdefault(name, {})[function] = calls
    return found


def load() -> Dict[str, Any]:
    data: Dict[str, Any] = json.loads(DATA.read_text(encoding="utf-8"))
    return data


def differences(found: Calls, data: Dict[str, Any]) -> List[str]:
    """A line for each place that is new, gone, changed or not explained."""
    known: Dict[str, Any] = data["places"]
    lines = []
    for file, function in sorted(
        {(a, b) for all_of in (found, known) for a in all_of for b in all_of[a]}
    ):
        now = found.get(file, {}).get(function)
        entry = known.get(file, {}).get(function)
        place = f"{file}: {function}"
        if entry is None:
            lines.append(f"new      {place}: {', '.join(now or [])}")
        elif now is None:
            lines.append(f"gone     {place}")
        else:
            new = [each for each in now if each not in entry["calls"]]
            gone = [each for each in entry["calls"] if each not in now]
            if new:
                lines.append(f"new      {place}: {', '.join(new)}")
            if gone:
                lines.append(f"gone     {place}: {', '.join(gone)}")
            if entry["why"] == UNKNOWN:
                lines.append(f"explain  {place}: {', '.join(now)}")
            elif entry["why"] not in data["reasons"]:
                lines.append(f"reason   {place}: {entry['why']!r} is not among the reasons")
    used = {entry["why"] for each in known.values() for entry in each.values()}
    lines += [f"unused   reason {each}" for each in sorted(set(data["reasons"]) - used)]
    return lines


def merged(found: Calls, data: Dict[str, Any]) -> Dict[str, Any]:
    """The data with the calls as they are; what is new, even a further call, has no reason yet."""
    places: Dict[str, Any] = {}
    for file, all_of in found.items():
        for function, calls in all_of.items():
            entry = data["places"].get(file, {}).get(function, {"calls": [], "why": UNKNOWN})
            same = set(calls) <= set(entry["calls"])
            why = entry["why"] if same else UNKNOWN
            places.setdefault(file, {})[function] = {"calls": calls, "why": why}
    return {"reasons": data["reasons"], "places": places}


def written(data: Dict[str, Any]) -> str:
    """One line for each place: that merges."""
    lines = ["{", '  "reasons": {']
    reasons = sorted(data["reasons"].items())
    for at, (name, reason) in enumerate(reasons):
        lines.append(
            f"    {json.dumps(name)}: {json.dumps(reason)}" + "," * (at + 1 < len(reasons))
        )
    lines += ["  },", '  "places": {']
    for number, (file, all_of) in enumerate(sorted(data["places"].items())):
        lines.append(f"    {json.dumps(file)}: {{")
        for at, (function, entry) in enumerate(sorted(all_of.items())):
            text = json.dumps({"why": entry["why"], "calls": entry["calls"]})
            lines.append(f"      {json.dumps(function)}: {text}" + "," * (at + 1 < len(all_of)))
        lines.append("    }" + "," * (number + 1 < len(data["places"])))
    return "\n".join([*lines, "  }", "}", ""])


def page(data: Dict[str, Any], present: str) -> str:
    """The page with the tables between its markers."""
    by_reason: Dict[str, List[Tuple[str, str, List[str]]]] = {}
    for file, all_of in sorted(data["places"].items()):
        for function, entry in sorted(all_of.items()):
            by_reason.setdefault(entry["why"], []).append((file, function, entry["calls"]))
    lines: List[str] = []
    for name, reason in sorted(data["reasons"].items()):
        lines += [f"### {reason['title']}", "", f"**Whose:** {reason['whose']}", ""]
        lines += [f"**Why it is safe:** {reason['safe']}", "", "| place | calls |", "|---|---|"]
        for file, function, calls in by_reason.get(name, []):
            lines.append(f"| `{file}` `{function}` | {', '.join(f'`{each}`' for each in calls)} |")
        lines.append("")
    before, _, rest = present.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n" + "\n".join(lines) + f"{END}{after}"


def main(words: List[str]) -> int:
    found, data = scan(), load()
    if words == ["--write"]:
        data = merged(found, data)
        DATA.write_text(written(data), encoding="utf-8")
        PAGE.write_text(page(data, PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    elif words:
        print(__doc__)
        return 2
    lines = differences(found, data)
    text = PAGE.read_text(encoding="utf-8")
    if not lines and page(data, text) != text:
        lines.append("docs/explanation/privileges.md is out of date")
    for line in lines:
        print(line)
    if lines:
        print(
            "Explain new places in tools/privileges.json; then: python3 tools/privileges.py --write"
        )
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
