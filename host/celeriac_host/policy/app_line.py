"""Which Python, app and folders a request may name: those of the unit as systemd has loaded it."""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING, Any, Mapping, Sequence

from celeriac_host.policy.document import is_path
from celeriac_host.policy.refusal import Refused, shown
from celeriac_host.policy.unit_text import INCLUDES, SUPPORT_FOLDER, VALUED
from celeriac_host.system import processes, support, unit_context, unit_values, units
from celeriac_host.system.errors import OperationError

if TYPE_CHECKING:
    from celeriac_host.policy.scene import Loaded, Scene

RULE = "interpreter"
PYTHON = re.compile(r"(?:python|pypy)[0-9.]*")
FLAGS = re.compile(r"-[bBdEhIOPqsSuvVx]+")
ENV = "/usr/bin/env"
FIXED_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
# An option that names code, or a module.
CODE = re.compile(r"-[bBdEhiIOPqsSuvVx]*[cm]|--")
START_BYTES = 1024
EXEC = re.compile(r"\{ path=(.*?) ; argv\[\]=(.*?) ; (?:ignore_errors|flags)=", re.DOTALL)


def judge(request: Mapping[str, Any], scene: Scene) -> None:
    """The fields `unit`, `interpreter`, `app`, `pythonPath`, `modules` and `directory`.

    Raises Refused.
    """
    unit = scene.unit(request["unit"])
    known = Line(unit, scene)
    if "interpreter" in request:
        known.require_interpreter(request["interpreter"])
    if "app" in request:
        known.require_app(request["app"])
    for folder in request.get("pythonPath", ()):
        known.require_folder(folder, "pythonPath")
    for module in request.get("modules", ()):
        known.require_module(module)
    directory = request.get("directory")
    if directory is not None and not _is_below(directory):
        known.require_folder(directory, "directory")


class Line:
    """The command line of a unit: as loaded, and that of its main process."""

    def __init__(self, unit: Loaded, scene: Scene) -> None:
        self.unit = unit
        self.scene = scene
        self.words = [word for argv in _commands(unit.seen) for word in argv]
        main = processes.read(units.number(unit.seen.get("MainPID")))
        if main is not None:
            self.words += main.argv
        for assignment in unit_values.split_words(unit.seen.get("Environment", "")):
            if assignment.startswith("PYTHONPATH="):
                self.words.append(assignment)
        self.words = _kept(self.words)
        # In a line for a shell, quotes and semicolons stand at words.
        self.parts = {
            part for word in self.words for part in re.split(r"[\s'\";=,:()]+", word) if part
        } | set(self.words)

    def require_app(self, app: str) -> None:
        if app not in self.parts:
            raise Refused("app", f"{shown(app)} is not the app of {self.unit.name}")

    def require_module(self, module: str) -> None:
        if module != support.MODULE and module not in self.parts:
            raise Refused("app", f"{self.unit.name} does not load the module {shown(module)}")

    def require_folder(self, folder: str, what: str) -> None:
        """A folder of the support module, or one that the unit names."""
        if SUPPORT_FOLDER.fullmatch(folder) or (is_path(folder) and folder in self.folders()):
            return
        raise Refused("app", f"{what} {shown(folder)} is not a folder of {self.unit.name}")

    def folders(self) -> set[str]:
        spelled = self.unit.seen.get("WorkingDirectory", "").lstrip("!")
        real = unit_context.working_directory(dict(self.unit.seen)) or ""
        named = {part.rstrip("/") for part in self.parts if part.startswith("/")}
        base = self.scene.policy.deploy_to
        current = {os.path.join(base, "current")} if base else set()
        return {spelled, real, *named, *current, self.scene.policy.checkout} - {""}

    def require_interpreter(self, words: Sequence[str]) -> None:
        """`env` with the unit's own assignments, and the Python of its program."""
        rest = list(words)
        if rest[:1] == [ENV]:
            rest = rest[1:]
            while rest and re.match(r"[A-Za-z_]\w*=", rest[0]):
                self._require_assignment(rest.pop(0))
            # The one that looks up a Python without a path.
            rest = rest[1:] if rest[:1] == [ENV] else rest
        if rest == []:
            raise Refused(RULE, "it names no program")
        program, flags = rest[0], rest[1:]
        pythons, options = self._pythons(words[:1] == [ENV])
        if program not in pythons:
            raise Refused(RULE, f"{shown(program)} is not the Python of {self.unit.name}")
        value_next = False
        for flag in flags:
            is_known = flag in options or (not value_next and FLAGS.fullmatch(flag))
            is_code = not value_next and (CODE.match(flag) or not flag.startswith("-"))
            if not is_known or is_code:
                raise Refused(
                    RULE, f"{self.unit.name} does not start its Python with {shown(flag)}"
                )
            value_next = flag in ("-W", "-X") and not value_next

    def _require_assignment(self, word: str) -> None:
        if word in self.words:
            return
        name, _, value = word.partition("=")
        if name != "PYTHONPATH":
            raise Refused(RULE, f"{self.unit.name} does not set {shown(name)}")
        for folder in value.split(":"):
            if folder not in ("", "${PYTHONPATH}"):
                self.require_folder(folder, "PYTHONPATH")

    def _pythons(self, by_env: bool) -> tuple[set[str], set[str]]:
        """Programs that may be the unit's Python, and the flags that come with them."""
        programs = {part for part in self.parts if part.startswith("/")}
        # A shell may have set PATH, as an `activate` does to its own folder.
        named = programs | {os.path.dirname(each) for each in programs}
        for name in (
            part for part in self.parts if re.fullmatch(r"celery|(?:python|pypy)[\d.]*", part)
        ):
            programs |= {os.path.join(folder, name) for folder in (*self._search_path(), *named)}
        found = {part for part in self.parts if by_env and PYTHON.fullmatch(part)}
        flags: set[str] = set()
        for program in programs:
            if PYTHON.fullmatch(os.path.basename(program)):
                found.add(program)
                flags |= set(self.words)
                continue
            said = _start_of(program)
            if said is None:
                continue
            # Where its first line does not name Python, the one beside it may run it.
            found.add(os.path.join(os.path.dirname(program), "python3"))
            for word in re.findall(r"[^\s\"']+", said):
                if PYTHON.fullmatch(os.path.basename(word)) and (by_env or word.startswith("/")):
                    found.add(word)
                elif word.startswith("-"):
                    flags.add(word)
        return found, flags

    def _search_path(self) -> Sequence[str]:
        try:
            where = unit_context.context(self.scene.host, self.unit.name)
        except OperationError:
            return FIXED_PATH
        own = where.environment.get("PATH", "").split(":")
        return [folder for folder in (*own, *FIXED_PATH) if folder.startswith("/")]


def _commands(seen: Mapping[str, str]) -> list[list[str]]:
    """The command lines as `systemctl show` prints them: without their quotes."""
    return [[path, *argv.split(" ")[1:]] for path, argv in EXEC.findall(seen.get("ExecStart", ""))]


def _kept(words: Sequence[str]) -> list[str]:
    """Without the values that a deploy may change: a name of a queue is no module, nor an option.

    A line for a shell is one word, or several: each of its own words is looked at.
    """
    found: list[str] = []
    before = ""
    for word in words:
        kept: list[str] = []
        for each in re.split(r"([\s'\"]+)", word):
            option, _, value = each.partition("=")
            if re.match(r"[\s'\"]|$", each):
                kept.append(each)
                continue
            if not (_may_change(before, each) or _may_change(option, value)):
                kept.append(each)
            before = each
        found.append("".join(kept))
    return [each for each in found if each]


def _may_change(option: str, value: str) -> bool:
    """`sh -c` has a line of its own after it."""
    pattern = "" if option in INCLUDES else VALUED.get(option, "")
    return bool(pattern and re.fullmatch(pattern, value))


def _start_of(path: str) -> str | None:
    """The start of a script; empty for another program, None for what is no program.

    The app's user may own it: it only ever runs as that user.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    try:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode) or not about.st_mode & 0o111:
            return None
        start = os.read(handle, START_BYTES)
    finally:
        os.close(handle)
    return start.decode("utf-8", "replace") if start.startswith(b"#!") else ""


def _is_below(directory: str) -> bool:
    """A relative directory that does not leave the unit's own."""
    return is_path("/" + directory) and not directory.startswith("/")
