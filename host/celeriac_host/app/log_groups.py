"""Groups what a worker logs: errors by signature, and lines with the number 429 by form.

Lines come from the app and may be anything. What is kept is bounded, whatever they are.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

MOST_SIGNATURES = 100
MOST_FORMS = 100
MOST_MINUTES = 120
# Processes with an unfinished traceback.
MOST_OPEN = 100
# Of one line; journald splits at 48 KiB, but an app may log a megabyte at once.
MOST_TEXT = 4096
MOST_FRAMES = 2000
SHOWN_ERROR = 120

START = "Traceback (most recent call last):"
CHAINED = ("During handling of the above exception", "The above exception was the direct cause")
FRAME = re.compile(r' {1,8}File "([^"]{1,500})", line \d{1,9}, in (.{1,200})')
RAISED = re.compile(r"([A-Za-z_][\w.]{0,200})(?::(?: .*)?)?\Z", re.DOTALL)
# Of a pool's process: the error itself follows as their text, between lines of quotes.
WRAPPERS = ("ExceptionWithTraceback", "RemoteTraceback", "_RemoteTraceback")
QUOTES = '"""'
# Celery's own log format.
LEVEL = re.compile(r"\[\d{4}-[^\]]{1,40}: (?:ERROR|CRITICAL|FATAL)/[^\]]{1,80}\] ?", re.DOTALL)
LIBRARY = re.compile(r"/(?:site|dist)-packages/|/lib(?:64)?/python3|^<")
# Ids, addresses, numbers: what differs between two occurrences of the same error.
VARIABLE = re.compile(
    r"0x[0-9a-fA-F]+|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F-]{22}"
    r"|\b(?=[a-fA-F]*\d)[0-9a-fA-F]{7,}\b|\d+(?:\.\d+)?"
)
QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
NUMBER = "429"


class Line(NamedTuple):
    at: float
    pid: str
    text: str


class Group:
    """Occurrences of one signature or form."""

    def __init__(self, line: Line, text: str) -> None:
        self.count = 0
        self.first = line.at
        self.last = line.at
        self.sample = shown(text)

    def add(self, at: float) -> None:
        self.count += 1
        self.first, self.last = min(self.first, at), max(self.last, at)


class Form(Group):
    """The same of a form with 429, and how many in each minute."""

    def __init__(self, line: Line, text: str) -> None:
        super().__init__(line, text)
        self.minutes: dict[int, int] = {}

    def add(self, at: float) -> None:
        super().add(at)
        minute = int(at // 60)
        self.minutes[minute] = self.minutes.get(minute, 0) + 1
        if len(self.minutes) > 2 * MOST_MINUTES:
            self.minutes = dict(self.busiest())

    def busiest(self) -> list[tuple[int, int]]:
        found = sorted(self.minutes.items(), key=lambda each: (-each[1], each[0]))
        return found[:MOST_MINUTES]


class _Open:
    """An error of one process that may go on in its next line."""

    def __init__(self, line: Line, signature: str, text: str, in_traceback: bool = False) -> None:
        self.line = line
        self.signature = signature
        self.text = text
        self.in_traceback = in_traceback
        # The next traceback is of this error.
        self.continues = not in_traceback
        self.frames = 0
        self.place = ""
        self.is_own = False

    def step(self, path: str, name: str) -> None:
        """The innermost frame of the app, or of a library if there is no other."""
        own = not LIBRARY.search(path)
        if own or not self.is_own:
            self.place = f"{VARIABLE.sub('N', path)} in {name.strip()}"
            self.is_own = own or self.is_own


class Groups:
    def __init__(self) -> None:
        self.signatures: dict[str, Group] = {}
        self.forms: dict[str, Form] = {}
        self.entries = self.errors = self.tracebacks = 0
        self.more_signatures = self.more_forms = 0
        self._open: dict[str, _Open] = {}

    def take(self, line: Line) -> None:
        """One entry of the journal, which may have several lines."""
        self.entries += 1
        text = line.text[:MOST_TEXT]
        if NUMBER in text:
            self._numbered(line, text)
        for each in text.split("\n"):
            self._read(line._replace(text=each))

    @property
    def is_idle(self) -> bool:
        """Whether no error is unfinished: then a line that begins none changes nothing."""
        return not self._open

    def end(self) -> None:
        for pid in list(self._open):
            self._close(pid)

    def _read(self, line: Line) -> None:
        opened = self._open.get(line.pid)
        text = line.text.rstrip("\r")
        if text.lstrip().startswith(START):
            # It belongs to the error line before it, which names what failed.
            before = opened if opened and opened.continues else None
            self._start(line, before)
        elif opened is None or not opened.in_traceback:
            self._outside(line, text, opened)
        elif text.startswith(" "):
            frame = FRAME.match(text)
            opened.frames += 1
            if frame and opened.frames <= MOST_FRAMES:
                opened.step(frame.group(1), frame.group(2))
        else:
            self._raised(opened, text)

    def _outside(self, line: Line, text: str, opened: _Open | None) -> None:
        if opened is not None and text.startswith(CHAINED):
            # The next traceback is of the same error.
            del self._open[line.pid]
            return
        level = LEVEL.match(text)
        if level:
            self._close(line.pid)
            said = text[level.end() :]
            plain = VARIABLE.sub("N", QUOTED.sub("'…'", said))[:SHOWN_ERROR]
            self._keep(line.pid, _Open(line, f"error: {shown(plain)}", said))
        elif text.strip() and text.strip() != QUOTES:
            self._close(line.pid)

    def _start(self, line: Line, before: _Open | None) -> None:
        if before is None:
            self._close(line.pid)
        self._keep(line.pid, _Open(before.line if before else line, "", line.text, True))

    def _raised(self, opened: _Open, text: str) -> None:
        raised = RAISED.match(text)
        name = raised.group(1) if raised else "an exception"
        opened.signature = f"{name} at {opened.place}" if opened.place else name
        opened.text = text
        opened.in_traceback = False
        opened.continues = name.rpartition(".")[2] in WRAPPERS

    def _keep(self, pid: str, opened: _Open) -> None:
        if len(self._open) >= MOST_OPEN and pid not in self._open:
            self._close(next(iter(self._open)))
        self._open[pid] = opened

    def _close(self, pid: str) -> None:
        opened = self._open.pop(pid, None)
        if opened is None:
            return
        if opened.in_traceback:  # cut off
            opened.signature = f"a traceback at {opened.place}" if opened.place else "a traceback"
        self.errors += 1
        self.tracebacks += not opened.signature.startswith("error: ")
        signature = shown(opened.signature)
        group = self.signatures.get(signature)
        if group is None:
            if len(self.signatures) >= MOST_SIGNATURES:
                self.more_signatures += 1
                return
            group = self.signatures[signature] = Group(opened.line, opened.text)
        group.add(opened.line.at)

    def _numbered(self, line: Line, text: str) -> None:
        """Which of these are HTTP statuses, the runner judges by a sample of each form."""
        at = text.index(NUMBER)
        part = text[max(0, at - 100) : at + 190]
        key = VARIABLE.sub(lambda match: NUMBER if match.group() == NUMBER else "N", part)
        form = self.forms.get(key)
        if form is None:
            if len(self.forms) >= MOST_FORMS:
                self.more_forms += 1
                return
            form = self.forms[key] = Form(line, part)
        form.add(line.at)


def shown(text: str) -> str:
    """One printable line without the passwords in URLs."""
    # Loaded late: the sampler only counts, every minute, and seldom comes here.
    from celeriac_host.app.programs.app_side import URL_PASSWORD
    from celeriac_host.app.reports import clipped

    return clipped(URL_PASSWORD.sub(r"\1:**@", text))


def described(groups: Groups, before: Groups | None) -> dict[str, Any]:
    """The groups as JSON; `before` are those of the time before the release, None: unknown."""
    return {
        "entries": groups.entries,
        "errors": groups.errors,
        "tracebacks": groups.tracebacks,
        "signatures": [
            {
                "signature": name,
                "count": each.count,
                "first": each.first,
                "last": each.last,
                "sample": each.sample,
                "before": None if before is None else count_of(before, name),
            }
            for name, each in groups.signatures.items()
        ],
        "moreSignatures": groups.more_signatures,
        "numbered": [
            {
                "sample": form.sample,
                "count": form.count,
                "first": form.first,
                "last": form.last,
                "minutes": [
                    {"at": minute * 60, "count": count} for minute, count in form.busiest()
                ],
            }
            for form in groups.forms.values()
        ],
        "moreNumbered": groups.more_forms,
    }


def count_of(before: Groups, name: str) -> int | None:
    """None: nobody knows, as not all signatures of that time were kept."""
    group = before.signatures.get(name)
    if group is None:
        return None if before.more_signatures else 0
    return group.count
