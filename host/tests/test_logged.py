"""What a worker logged is grouped, within bounds, whatever it logged."""

from __future__ import annotations

import json
from typing import Any, List, cast

import pytest
from celeriac_host.app import log_groups
from celeriac_host.app.log_groups import Groups, Line, described
from celeriac_host.facts import journal, logged
from celeriac_host.system.errors import OperationError
from celeriac_host.system.following import Ended
from celeriac_host.system.system import System
from hosts import Host

AT = 1_768_734_000.0
TASK = "0b7c9a52-8c1e-4b52-9d2f-6a1f0e9c2d11"
FAILED = f"Task tasks.link[{TASK}] raised unexpected: WorkError('job 812')"
TRACEBACK = f"""[2026-01-18 11:00:00,123: ERROR/ForkPoolWorker-1] {FAILED}
Traceback (most recent call last):
  File "/usr/lib/python3/dist-packages/celery/app/trace.py", line 451, in trace_task
    R = retval = fun(*args, **kwargs)
  File "/srv/app/releases/20260118-3f2c9e1a/tasks.py", line 88, in link
    fetch(url)
  File "/srv/app/venv/lib/python3.11/site-packages/requests/api.py", line 59, in request
    return session.request()
tasks.WorkError: job 812 at 0x7f11aa"""
SIGNATURE = "tasks.WorkError at /srv/app/releases/N-N/tasks.py in link"


def grouped(*texts: str, pid: str = "7", apart: float = 1.0) -> Groups:
    groups = Groups()
    for index, text in enumerate(texts):
        groups.take(Line(AT + index * apart, pid, text))
    groups.end()
    return groups


def signatures(groups: Groups) -> dict[str, int]:
    return {name: each.count for name, each in groups.signatures.items()}


def test_systemd_is_asked_why_it_restarted_a_unit_and_only_then(
    monkeypatch: pytest.MonkeyPatch, host: Host
) -> None:
    def look(restarts: str) -> Any:
        host.answers[("systemctl", "show")] = (
            0,
            f"InvocationID={'a' * 32}\nNRestarts={restarts}\n",
        )
        return journal.look({"unit": "w.service"}, host)

    def follow(host: System, words: List[str], on_line: Any, timeout: float) -> Ended:
        asked.append(words[-5:])
        said = "Watchdog timeout" if "_PID=1" in words else "ready"
        on_line(json.dumps({"MESSAGE": said}).encode())
        return Ended(0, "")

    asked: List[List[str]] = []
    monkeypatch.setattr(journal, "follow", follow)
    assert (look("0")["ends"], len(asked)) == ([], 1)
    assert look("1")["ends"] == ["Watchdog timeout"]
    assert look("1")["tail"] == ["ready"]
    # What the app says in the name of systemd has another number of a process.
    assert asked[2] == ["UNIT=w.service", "-p", "warning", "-n", "10"]


NOW, FIRST, SECOND = "c" * 32, "a" * 32, "b" * 32
KILLED = "w.service: Main process exited, code=killed, status=9/KILL"


def said(what: str, run: str, text: str = "", **more: str) -> bytes:
    """What systemd says of a run."""
    about = {"MESSAGE_ID": what, "INVOCATION_ID": run, "MESSAGE": text, **more}
    return json.dumps({"__REALTIME_TIMESTAMP": "1768734000500000", **about}).encode()


def failed(run: str, result: str) -> bytes:
    return said(journal.FAILED, run, "w.service: Failed", UNIT_RESULT=result)


@pytest.fixture()
def ends(monkeypatch: pytest.MonkeyPatch, host: Host) -> Any:
    """How runs ended by these lines of systemd; what was asked is in `ends.asked`."""

    def look(*lines: bytes, **args: str) -> Any:
        def read(_: Any, words: List[str], on_line: Any, fields: str = "MESSAGE") -> None:
            look_.asked.append(words)
            for line in lines if "_PID=1" in words and "-p" not in words else []:
                assert "UNIT_RESULT" in fields
                on_line(line)

        monkeypatch.setattr(journal, "read", read)
        return journal.look({"unit": "w.service", **args}, host)["endedRuns"]

    look_ = cast(Any, look)
    look_.asked = []
    shown = f"Id=w.service\nInvocationID={NOW}\nNRestarts=0\n"
    host.answers[("systemctl", "show")] = (0, shown)
    return look


def test_ends_of_runs_are_read_only_if_another_one_runs(ends: Any) -> None:
    lines = [
        said(journal.STARTED, FIRST, "Started"),
        said(journal.EXITED, FIRST, KILLED),
        failed(FIRST, "signal"),
        # By another program, after its end.
        said(journal.STOPPING, FIRST, "Stopping"),
        said(journal.STARTED, SECOND, "Started"),
        said(journal.STOPPING, SECOND, "Stopping"),
        said(journal.SUCCEEDED, SECOND, "w.service: Deactivated successfully."),
        said(journal.RESTARTED, SECOND, "w.service: Scheduled restart job"),
        b"torn {",
        b'{"MESSAGE_ID": "%s", "INVOCATION_ID": [1]}' % journal.FAILED.encode(),
        b'{"MESSAGE_ID": ["%s"], "INVOCATION_ID": "%s"}' % (journal.FAILED.encode(), NOW.encode()),
        said(journal.STOPPING, NOW, "Stopping"),
    ]
    assert ends(*lines) == ends(*lines, earlierRun=NOW) == []
    assert len(ends.asked) == 2
    about = {"at": 1768734000.5, "phase": "started"}
    assert ends(*lines, earlierRun=FIRST) == [
        {
            **about,
            "run": FIRST,
            "result": "signal",
            "stopped": False,
            "restarted": False,
            "exit": KILLED,
        },
        {
            **about,
            "run": SECOND,
            "result": "success",
            "stopped": True,
            "restarted": True,
            "exit": "",
        },
    ]
    # What the app says in the name of systemd has another number of a process.
    assert ends.asked[-1][:2] == ["_PID=1", "UNIT=w.service"]
    assert set(journal.ABOUT_RUNS) == {
        word.partition("=")[2] for word in ends.asked[-1] if word.startswith("MESSAGE_ID=")
    }


@pytest.mark.parametrize(
    ("lines", "phase"),
    [
        # Below level info, nothing is logged of starts, nor of stops.
        ([], ""),
        ([journal.STARTED], "started"),
        ([journal.STARTED, journal.RELOADING], "reloading"),
        ([journal.STARTED, journal.RELOADING, journal.RELOADED], "started"),
        # A reload that failed is logged as an error.
        ([journal.RELOADED], ""),
    ],
)
def test_a_run_has_the_phase_in_which_it_ended(ends: Any, lines: List[str], phase: str) -> None:
    logged_before = [said(each, FIRST) for each in lines]
    (found,) = ends(*logged_before, failed(FIRST, "timeout"), earlierRun=FIRST)
    assert (found["phase"], found["stopped"]) == (phase, False)


def test_that_a_start_failed_is_logged_after_the_end_of_the_run(ends: Any) -> None:
    lines = [failed(FIRST, "exit-code"), said(journal.NOT_STARTED, FIRST, "Failed to start w.")]
    (found,) = ends(*lines, earlierRun=FIRST)
    assert found["phase"] == "not-started"


def test_a_control_process_does_not_hide_why_the_main_one_ended(ends: Any) -> None:
    def why(*texts: str) -> Any:
        lines = [said(journal.EXITED, FIRST, text) for text in texts]
        (found,) = ends(*lines, failed(FIRST, "signal"), earlierRun=FIRST)
        return found["exit"]

    before, after = (
        f"w.service: Control process exited, code=exited, status={code}" for code in (1, 2)
    )
    assert why(before, KILLED, after) == KILLED
    assert why(before, after) == before


def test_what_systemd_says_is_asked_by_the_name_of_the_unit_not_an_alias(
    ends: Any, host: Host
) -> None:
    shown = f"Id=real.service\nInvocationID={NOW}\nNRestarts=1\n"
    host.answers[("systemctl", "show")] = (0, shown)
    ends(earlierRun=FIRST)
    assert [words[1] for words in ends.asked if "_PID=1" in words] == ["UNIT=real.service"] * 2


def test_an_error_and_its_traceback_are_one_and_its_ids_do_not_matter() -> None:
    again = TRACEBACK.replace("812", "4711").replace("3f2c9e1a", "9d00000").replace("88", "90")
    lines = [*TRACEBACK.split("\n"), "[2026-01-18 11:00:01,0: INFO/MainProcess] ok", again]
    groups = grouped(*lines)
    assert signatures(groups) == {SIGNATURE: 2}
    assert (groups.errors, groups.tracebacks) == (2, 2)
    found = groups.signatures[SIGNATURE]
    assert (found.first, found.last) == (AT, AT + len(lines) - 1)
    assert found.sample == "tasks.WorkError: job 812 at 0x7f11aa"


def test_processes_that_log_at_the_same_time_do_not_mix() -> None:
    groups = Groups()
    for first, other in zip(TRACEBACK.split("\n"), TRACEBACK.replace("link", "page").split("\n")):
        groups.take(Line(AT, "7", first))
        groups.take(Line(AT, "8", other))
    groups.end()
    assert signatures(groups) == {SIGNATURE: 1, SIGNATURE.replace("link", "page"): 1}


def test_a_chained_exception_is_the_last_one() -> None:
    lines = [
        "Traceback (most recent call last):",
        '  File "/srv/app/a.py", line 1, in first',
        "KeyError: 'x'",
        "",
        "During handling of the above exception, another exception occurred:",
        "",
        "Traceback (most recent call last):",
        '  File "/srv/app/b.py", line 2, in second',
        "ValueError",
    ]
    assert signatures(grouped(*lines)) == {"ValueError at /srv/app/b.py in second": 1}
    assert signatures(grouped("\n".join(lines))) == {"ValueError at /srv/app/b.py in second": 1}


def test_a_traceback_that_quotes_that_of_a_pool_is_one_error() -> None:
    """As Celery 5.2 logs the failure of a task on Python 3.11."""
    inner = [
        "Traceback (most recent call last):",
        '  File "/srv/app/tasks.py", line 45, in work',
        "    raise WorkError('asked to fail')",
    ]
    log = "[2026-01-18 11:00:00,1: ERROR/ForkPoolWorker-1] Task x raised unexpected: E()"
    quoted = ['"""', *inner, "tasks.WorkError: asked to fail", '"""']
    lines = [log, *inner, "billiard.einfo.ExceptionWithTraceback:", *quoted]
    found = grouped(*lines, *lines)
    assert signatures(found) == {"tasks.WorkError at /srv/app/tasks.py in work": 2}
    assert found.tracebacks == 2
    # A chain of both, as multiprocessing makes it.
    remote = ["multiprocessing.pool.RemoteTraceback: ", *quoted, ""]
    cause = ["The above exception was the direct cause of the following exception:", ""]
    chain = [*remote, *cause, *inner, "tasks.WorkError: asked to fail", "done"]
    assert signatures(grouped(*chain)) == {"tasks.WorkError at /srv/app/tasks.py in work": 1}


def test_tracebacks_in_a_row_are_several_errors() -> None:
    """As an app prints them, without a line of a log between."""
    printed = ["Traceback (most recent call last):", '  File "/srv/a.py", line 1, in f', "KeyError"]
    assert signatures(grouped(*(3 * printed))) == {"KeyError at /srv/a.py in f": 3}


def test_errors_without_a_traceback_are_grouped_by_their_words() -> None:
    said = "[2026-01-18 11:00:0%d,0: ERROR/MainProcess] row %d of 'links' is gone"
    groups = grouped(said % (1, 17), said % (2, 4), "ERROR in an app's own words", "Traceback")
    assert signatures(groups) == {"error: row N of '…' is gone": 2}
    assert groups.tracebacks == 0


@pytest.mark.parametrize(
    "lines",
    [
        ["Traceback (most recent call last):"] * 3000,
        ["Traceback (most recent call last):\n" + '  File "/a.py", line 1, in f\n' * 50_000],
        ["x" * 1_000_000, "\0\x1b[31m\x07", "\ud800", "  " * 500_000],
        [f"[2026-01-18 1: ERROR/M] {chr(97 + n % 26) * (n % 90 + 1)} failed" for n in range(5000)],
        [f"429 {chr(97 + n % 26) * (n % 90 + 1)}" for n in range(5000)],
        ["0x" + "f" * 100_000, "'" * 100_000, '"' * 100_001, "File " * 9000],
    ],
)
def test_hostile_lines_stay_within_bounds(lines: List[str]) -> None:
    groups = grouped(*lines)
    said = json.dumps(described(groups, None))
    assert groups.entries == len(lines)
    assert len(groups.signatures) <= log_groups.MOST_SIGNATURES
    assert len(groups.forms) <= log_groups.MOST_FORMS
    assert len(said) < 200_000
    for each in [*groups.signatures.values(), *groups.forms.values()]:
        assert each.sample.isprintable()


def test_what_does_not_fit_is_counted() -> None:
    words = [a + b for a in "abcdefghijklm" for b in "abcdefghijklm"]
    found = described(grouped(*(f"[2026-1: ERROR/M] {each}" for each in words)), None)
    assert len(found["signatures"]) == log_groups.MOST_SIGNATURES
    assert found["moreSignatures"] == len(words) - log_groups.MOST_SIGNATURES
    assert found["errors"] == len(words)


def test_an_error_that_the_days_before_may_not_list_is_not_new() -> None:
    def seen_before(*words: str) -> Any:
        before = grouped(*(f"[2026-1: ERROR/M] {each}" for each in words))
        return described(grouped("[2026-1: ERROR/M] later"), before)["signatures"][0]["before"]

    words = [a + b for a in "abcdefghijklm" for b in "abcdefghijklm"]
    assert seen_before(*words) is None
    assert (seen_before("other"), seen_before("other", "later")) == (0, 1)


def test_lines_with_429_are_counted_by_form_and_minute() -> None:
    lines = [f'"GET /photos/{n} HTTP/1.1" 429 17' for n in range(130)]
    found = described(grouped(*lines, "row 429 of 4290 done", "4290 of 14291"), None)["numbered"]
    assert [each["count"] for each in found] == [130, 1, 1]
    assert sum(each["count"] for each in found[0]["minutes"]) == 130
    assert found[0]["minutes"][0]["count"] == 60
    assert '" 429 17' in found[0]["sample"]


def test_endless_minutes_keep_the_busiest() -> None:
    groups = Groups()
    for minute in range(5000):
        for _ in range(3 if minute == 2 else 1):
            groups.take(Line(minute * 60.0, "7", "status 429"))
    (form,) = described(groups, None)["numbered"]
    assert form["count"] == 5002
    assert len(form["minutes"]) == log_groups.MOST_MINUTES
    assert form["minutes"][0] == {"at": 120, "count": 3}


def test_a_password_in_a_url_is_masked() -> None:
    found = grouped("[2026-1: ERROR/M] cannot reach redis://:sesame@10.0.0.1:6379/0")
    assert "sesame" not in json.dumps(described(found, None))


# --- reading --------------------------------------------------------------------------------------


def entry(text: Any, at: float = AT, pid: str = "7", cursor: str = "s=1;i=2") -> bytes:
    said = {"__REALTIME_TIMESTAMP": str(int(at * 1e6)), "_PID": pid, "MESSAGE": text}
    return json.dumps({"__CURSOR": cursor, **said}).encode()


class Journalctl:
    """Answers `journal.read`: by the word that says which part of the journal is read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **parts: List[bytes]) -> None:
        self.parts = parts
        self.asked: List[List[str]] = []
        self.broken: set[str] = set()
        monkeypatch.setattr(journal, "read", self.read)

    def read(self, _: Any, words: List[str], on_line: Any, fields: str = "MESSAGE") -> None:
        self.asked.append(words)
        earlier = any(word.startswith("--until") for word in words)
        part = "dropped" if logged.DROPPED[0] in words else "earlier" if earlier else "now"
        if part in self.broken:
            raise OperationError("journalctl failed")
        for line in self.parts.get(part, []):
            on_line(line)


def look(**args: Any) -> Any:
    return logged.look({"unit": "w.service", "since": AT, **args}, cast(System, None))


def test_a_signature_says_how_often_it_was_there_before(monkeypatch: pytest.MonkeyPatch) -> None:
    error = "[2026-1: ERROR/M] row %d is gone"
    Journalctl(
        monkeypatch,
        now=[entry(error % 1), entry("[2026-1: ERROR/M] new", cursor="s=9;i=a")],
        earlier=[entry(error % 2, AT - 60)] * 3,
        dropped=[
            entry("Suppressed 812 messages from w.service"),
            entry("Suppressed 3 messages from other.service"),
        ],
    )
    found = look()
    assert [(each["signature"], each["before"]) for each in found["signatures"]] == [
        ("error: row N is gone", 3),
        ("error: new", 0),
    ]
    assert (found["earlier"], found["dropped"], found["cursor"]) == (3, 812, "s=9;i=a")
    assert found["complete"] is True


def test_without_an_earlier_journal_it_is_unknown_what_is_new(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    journalctl = Journalctl(monkeypatch, now=[entry("[2026-1: ERROR/M] new")])
    journalctl.broken.add("earlier")
    found = look()
    assert found["earlier"] is None
    assert found["signatures"][0]["before"] is None


def test_after_a_cursor_only_that_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    journalctl = Journalctl(monkeypatch)
    assert look(after="s=1;i=2")["cursor"] == "s=1;i=2"
    assert all(words[0] == "--after-cursor=s=1;i=2" for words in journalctl.asked)
    for wrong in ("", "-x", "s=1\n", 7):
        with pytest.raises(OperationError):
            look(after=wrong)


def test_bytes_torn_lines_and_overlong_ones_are_read_as_far_as_possible(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    long = entry("status 429 " + "x" * 2_000_000)[: 1024 * 1024]
    Journalctl(monkeypatch, now=[entry([255, 52, 50, 57]), b'{"torn', b"\xff", b"[]", long])
    found = look()
    assert found["entries"] == 5
    assert [each["count"] for each in found["numbered"]] == [1, 1]
