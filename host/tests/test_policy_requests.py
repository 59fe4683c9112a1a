"""The rule of each kind of request and each fact, and what an access may ask for."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any, Callable, Dict

import pytest
from celeriac_host.policy import facts, fields, requests
from celeriac_host.policy.refusal import Refused
from policies import COMMIT, IDENT, SHA, UNIT, USER, Hardened

AGENT = Path(__file__).resolve().parents[1] / "celeriac_host" / "session" / "agent.py"
META = {"action": "deploy-worker", "holder": "a run", "sha": COMMIT, "lockTimeoutSeconds": 60}
OTHER = "20260101T000000-0002"
NOBODYS = "20260101T000000-0003"


@pytest.fixture
def at(hardened: Hardened, monkeypatch: pytest.MonkeyPatch) -> Hardened:
    monkeypatch.setattr(fields, "WORKERS_SHA256", hashlib.sha256(b"x").hexdigest())
    monkeypatch.setattr(fields, "BEATS_SHA256", hashlib.sha256(b"y").hexdigest())
    for ident, unit in ((IDENT, UNIT), (OTHER, "other.service"), (NOBODYS, None)):
        folder = Path(hardened.host.state) / "transactions" / ident
        folder.mkdir()
        meta = {**META, **({} if unit is None else {"unit": unit})}
        plan = {"id": ident, "startedAt": 1.0, "meta": meta, "operations": []}
        (folder / "plan.json").write_text(json.dumps(plan))
    return hardened


def queries(at: Hardened) -> Dict[str, Any]:
    """One of each fact, as an action asks for it."""
    app = at.by_the_app()
    others = {"otherWorkers": {"directory": at.app, "command": "x"}}
    database = f"{at.app}/app.db"
    return {
        "host": {},
        "past": {},
        "files": {"paths": ["/etc/fstab", f"/etc/systemd/system/{UNIT}.d/celeriac.conf", "/"]},
        "swap": {"path": "/swapfile"},
        "sysctl": {"names": ["vm.swappiness"]},
        "unit": {"name": UNIT, "exposure": True, "programs": [f"{at.app}/venv/bin/celery"]},
        "workers": {"command": "x"},
        "code": {"unit": UNIT},
        "settings": {"unit": UNIT},
        "room": {"unit": UNIT, "paths": [at.app]},
        "environment": {
            **{name: app[name] for name in ("unit", "interpreter")},
            "user": USER,
        },
        "pressure": {"unit": UNIT},
        "journal": {"unit": UNIT},
        "kernel": {"unit": UNIT},
        "logged": {"unit": UNIT, "since": 1_768_734_123.5},
        "limits": {"unit": UNIT},
        "sampling": {"unit": UNIT},
        "samples": {"unit": UNIT, "after": {"file": "0f" * 16, "offset": 10}},
        "command": {
            **{name: app[name] for name in ("unit", "interpreter")},
            "argv": ["python", "manage.py", "migrate"],
            "timeoutSeconds": 30,
        },
        "http": {"probes": [{"url": "http://127.0.0.1:8000/health", "timeoutSeconds": 5}]},
        "stores": {"unit": UNIT, "databases": [database], "statusColumns": ["status"]},
        "tasks": {**app, **others, "ids": ["x"]},
        "consuming": {**app, "queues": None, "forks": True},
        "broker": {
            **app,
            "queues": ["celery"],
            "beat": {"directory": "/srv/app", "schedule": None, "scheduler": None},
        },
        "beats": {"command": "y"},
        "unacked": app,
        "resets": {"database": database},
        "backup": {"database": database, "unit": UNIT, "backup": "latest"},
        "rehearsal": {"database": database, "unit": UNIT, "rows": [], "busyTimeoutSeconds": 5},
        "transactions": {"unit": UNIT},
        "undoing": {"transactions": [IDENT]},
        "releases": {"unit": UNIT},
        "release": {
            "unit": UNIT,
            "source": "git",
            "checkout": None,
            "deployTo": None,
            "user": None,
        },
        "companions": {"unit": UNIT, "units": ["shop-web.service"], "folder": None},
    }


COUNTED = {"counts": "celeriac_status_counts", "mostUnknown": 200}


def messages(at: Hardened) -> Dict[str, Any]:
    """One of each request."""
    found: Dict[str, Any] = {
        "look": {"query": {"host": {}}},
        "snapshot": {
            "database": f"{at.app}/app.db",
            "limitBytes": 1024,
            "extract": {"unit": UNIT, "tables": [{"table": "jobs"}], **COUNTED},
        },
        "submit": {"request": {"kind": "canary", **canary(at)}},
        "receive": {"sha256": SHA, "step": "begin", "sizeBytes": 10},
        "apply": {
            "operations": [{"op": "enable-unit", "title": "a", "why": "b", "unit": UNIT}],
            "meta": {**META, "unit": UNIT, "actor": "a", "release": {"confirmWithinSeconds": 900}},
        },
        "undo": {
            "transactions": [IDENT],
            "newest": IDENT,
            "meta": {**META, "unit": UNIT},
        },
        "follow": {"opened": {"transactions": [IDENT], "live": IDENT}},
        "recover": {"meta": META},
        "confirm": {
            "unit": UNIT,
            "transactions": [IDENT],
            "meta": META,
            "figures": {"latencySeconds": 0.4},
        },
        "prove": {
            "unit": UNIT,
            "transaction": IDENT,
            "verdict": "proven",
            "why": "24 h without a failure",
            "figures": {"restarts": 0, "latencySeconds": None},
            "meta": META,
        },
        "acknowledge": {
            "transactions": [IDENT, NOBODYS],
            "notices": {"about": f"deploy-worker of {UNIT}", "messages": ["notice: x"]},
        },
        "bye": {},
    }
    return {ask: {"id": 1, "ask": ask, "protocol": 1, **more} for ask, more in found.items()}


def canary(at: Hardened) -> Dict[str, Any]:
    return {**at.by_the_app(), "queues": ["a"], "timeoutSeconds": 30}


def probe(url: str) -> Dict[str, Any]:
    return {"probes": [{"url": url, "timeoutSeconds": 5}]}


def refusal(judge: Callable[[], object]) -> str:
    with pytest.raises(Refused) as caught:
        judge()
    return str(caught.value)


def refused_fact(name: str, args: Any, at: Hardened, **policy: Any) -> str:
    return refusal(lambda: facts.judge({name: args}, at.scene(**policy)))


def refused(message: Any, at: Hardened, access: str = "change", **policy: Any) -> str:
    return refusal(lambda: requests.judge(message, at.scene(access, **policy)))


# --- facts ----------------------------------------------------------------------------------------


def test_what_an_action_looks_at_is_allowed(at: Hardened) -> None:
    assert set(queries(at)) == set(facts.RULES)
    facts.judge(queries(at), at.scene())
    facts.judge({name: {**args, "user": USER} for name, args in queries(at).items()}, at.scene())


def test_a_fact_without_a_rule_is_refused(at: Hardened) -> None:
    assert "no rule for the fact shadow" in refused_fact("shadow", {}, at)
    assert "is not an object" in refusal(lambda: facts.judge([], at.scene()))


def test_a_fact_takes_no_other_key(at: Hardened) -> None:
    for name, args in queries(at).items():
        assert "no rule allows x" in refused_fact(name, {**args, "x": 1}, at)
        for key in args:
            if key not in ("exposure", "programs", "statusColumns", "unit", "user"):
                less = {each: value for each, value in args.items() if each != key}
                assert f"{name} has no {key}" in refused_fact(name, less, at)
        assert refused_fact(name, [], at)
        assert refused_fact(name, {**args, "user": "root"}, at) == f"appUser: root is not {USER}"


@pytest.mark.parametrize(
    ("name", "changed", "reason"),
    [
        ("files", {"paths": ["/etc/shadow"]}, "files: /etc/shadow is not a file that Celeriac"),
        ("files", {"paths": ["/etc/fstab", "/root/.ssh/id_ed25519"]}, "files: "),
        ("files", {"paths": ["/etc//shadow"]}, "files: "),
        ("files", {"paths": ["/etc/systemd/system/../../shadow"]}, "files: "),
        ("files", {"paths": ["/usr/local/lib/celeriac/agent"]}, "files: "),
        ("swap", {"path": "/dev/sda"}, "swap: "),
        ("sysctl", {"names": ["kernel.hostname"]}, "sysctl: "),
        ("sysctl", {"names": ["../../etc/shadow"]}, "sysctl: "),
        ("unit", {"name": "ssh.service"}, "units: ssh.service is not one of"),
        ("unit", {"name": UNIT, "programs": ["/root/backup.sh"]}, "files: "),
        ("unit", {"name": UNIT, "programs": ["/root/../x/celery"]}, "units: "),
        ("workers", {"command": "."}, "workers: "),
        ("code", {"unit": "ssh.service"}, "units: "),
        ("settings", {"unit": "ssh.service"}, "units: "),
        ("room", {"unit": "ssh.service"}, "units: "),
        ("pressure", {"unit": "ssh.service"}, "units: "),
        ("room", {"paths": ["../etc"]}, "units: "),
        ("environment", {"interpreter": ["/bin/sh"]}, "interpreter: "),
        ("journal", {"unit": "ssh.service"}, "units: "),
        ("logged", {"unit": "ssh.service", "since": None}, "units: "),
        ("command", {"argv": ["python", "-c", "import os"]}, "commands: "),
        ("command", {"argv": ["python", "manage.py"]}, "commands: "),
        ("command", {"interpreter": ["/bin/sh"]}, "interpreter: "),
        ("command", {"unit": "ssh.service"}, "units: "),
        ("http", probe("http://169.254.169.254/latest"), "urls: "),
        ("http", probe("http://127.0.0.1:8000/api/../x"), "urls: "),
        ("http", probe("http://127.0.0.1:8000/api/%2e%2e/"), "urls: "),
        ("http", probe("http://127.0.0.1:8000@x/api/"), "urls: "),
        ("http", probe("http://127.0.0.1:8000/api/ HTTP/1.1"), "urls: "),
        ("stores", {"databases": ["/root/other.db"]}, "databases: "),
        ("stores", {"databases": ["postgresql://localhost/shop?sslkey=/root/x"]}, "databases: "),
        ("tasks", {"interpreter": ["/bin/sh"]}, "interpreter: "),
        ("consuming", {"app": "evil"}, "app: "),
        ("broker", {"interpreter": ["/bin/sh"]}, "interpreter: "),
        ("broker", {"beat": {"directory": "/"}}, "interpreter: beat of broker"),
        ("resets", {"database": "/root/other.db"}, "databases: "),
        ("backup", {"backup": "/etc/shadow"}, "databases: "),
        ("rehearsal", {"database": "/root/other.db"}, "databases: "),
        ("transactions", {"unit": "ssh.service"}, "units: "),
        ("undoing", {"transactions": [OTHER]}, f"transactions: transaction {OTHER} is of other"),
        ("undoing", {"transactions": [NOBODYS]}, "transactions: "),
        ("undoing", {"transactions": ["../../x"]}, "transactions: unknown transaction"),
        ("releases", {"unit": "ssh.service"}, "units: "),
        ("release", {"checkout": "/root"}, "checkout: "),
        ("release", {"source": "upload", "deployTo": "/root"}, "deployTo: "),
        ("companions", {"units": ["ssh.service"]}, "companions: "),
        ("companions", {"folder": "/root"}, "deployTo: "),
    ],
)
def test_nothing_else_is_told(
    at: Hardened, name: str, changed: Dict[str, Any], reason: str
) -> None:
    found = refused_fact(name, {**queries(at)[name], **changed}, at)
    assert found.startswith(reason), found


def test_a_value_that_may_hold_a_password_is_not_repeated(at: Hardened) -> None:
    url = "postgresql://shop:hunter2@localhost/shop"
    query = {**queries(at)["stores"], "databases": [url]}
    assert "hunter2" not in refused_fact("stores", query, at)


def test_a_search_finds_what_the_policy_names(at: Hardened) -> None:
    query = {
        "stores": {"unit": UNIT, "databases": None},
        "release": {"unit": UNIT, "source": "git", "checkout": None, "deployTo": None},
    }
    facts.judge(query, at.scene())
    found = facts.narrowed(query, at.scene())
    assert found["stores"]["databases"] == at.policy["databases"]
    assert found["release"]["checkout"] == at.app
    assert query["stores"]["databases"] is None
    os.symlink(at.app, f"{at.root}/link")
    linked = at.scene(databases=[f"{at.root}/link/app.db"])
    assert "is a link" in refusal(lambda: facts.narrowed(query, linked))
    none = at.scene(checkout=None)
    assert refusal(lambda: facts.narrowed(query, none)) == "checkout: the policy names no checkout"


def test_transactions_of_other_units_are_not_told(at: Hardened) -> None:
    all_units = [{"unit": UNIT}, {"unit": None}, {"unit": "ssh.service"}]
    lists = dict.fromkeys(("untold", "open", "awaiting"), all_units)
    own = ("provision", f"deploy-worker of {UNIT}", f"cleanup of {UNIT}, plan 2")
    others = ("cleanup", "deploy-worker of ssh.service", f"cleanup of x{UNIT}", f"x of y of {UNIT}")
    past = {**lists, "working": None, "notices": {about: ["x"] for about in (*own, *others)}}
    answer = facts.told({"past": past}, at.scene())
    assert answer["past"]["untold"] == [{"unit": UNIT}, {"unit": None}]
    assert answer["past"]["working"] is None
    assert tuple(answer["past"]["notices"]) == own


# --- requests -------------------------------------------------------------------------------------


def test_every_request_of_the_agent_has_a_rule() -> None:
    text = AGENT.read_text()
    named = set(re.findall(r'\bask == "([a-z]+)"', text))
    named |= {
        name
        for group in re.findall(r"\bask in \(([^)]*)\)", text)
        for name in re.findall(r'"([a-z]+)"', group)
    }
    # As the action names them; the last of the changes has no comparison of its own.
    named |= set(re.findall(r'\.get\("ask"\) == "([a-z]+)"', text))
    assert set(requests.RULES) == named


def test_what_an_action_asks_is_allowed(at: Hardened) -> None:
    assert set(messages(at)) == set(requests.RULES)
    for message in messages(at).values():
        requests.judge(message, at.scene())


def test_a_request_without_a_rule_is_refused(at: Hardened) -> None:
    assert "no rule for the request exec" in refused({"ask": "exec"}, at)
    assert "no rule for the request" in refused({}, at)


def test_a_request_takes_no_other_key(at: Hardened) -> None:
    for message in messages(at).values():
        assert "no rule allows sources" in refused({**message, "sources": {}}, at)


def test_access_read_looks_and_changes_nothing(at: Hardened) -> None:
    for ask, message in messages(at).items():
        if ask in ("look", "snapshot", "submit", "bye"):
            requests.judge(message, at.scene("read"))
        else:
            assert refused(message, at, "read").startswith("access: ")
    task = {"kind": "task", **canary(at), "task": "shop.tasks.probe"}
    assert refused({**messages(at)["submit"], "request": task}, at, "read").startswith("access: ")
    # A command may change whatever it wants to.
    command = {"command": queries(at)["command"]}
    facts.judge(command, at.scene())
    assert refusal(lambda: facts.judge(command, at.scene("read"))).startswith("access: ")


@pytest.mark.parametrize(
    ("ask", "changed", "reason"),
    [
        ("snapshot", {"database": "/etc/shadow"}, "databases: "),
        ("snapshot", {"extract": {"unit": "ssh.service", "tables": [], **COUNTED}}, "units: "),
        ("snapshot", {"extract": {"unit": UNIT, "tables": []}}, "databases: extract of snapshot: "),
        ("receive", {"sha256": "../../x"}, "checkout: "),
        ("receive", {"step": "exec"}, "checkout: "),
        ("receive", {"sizeBytes": 2**39}, "limits: "),
        ("receive", {"sizeBytes": -1}, "checkout: "),
        ("receive", {"step": "piece", "offset": 0}, "shape: receive has no data"),
        ("apply", {"operations": {}}, "limits: "),
        ("apply", {"operations": [{}] * 201}, "limits: a plan may have at most 200 operations"),
        ("apply", {"operations": [{"op": "shell"}]}, "operations: "),
        ("apply", {"meta": {**META, "unit": "ssh.service"}}, "units: "),
        ("apply", {"meta": {**META, "unit": "../../x"}}, "units: "),
        ("apply", {"meta": {**META, "release": {"confirmWithinSeconds": 1}}}, "units: "),
        ("apply", {"meta": {**META, "holder": "a\nb"}}, "meta: "),
        ("apply", {"meta": {**META, "lockTimeoutSeconds": 10**9}}, "limits: "),
        ("apply", {"meta": {**META, "holder": "\ud800"}}, "meta: "),
        ("undo", {"transactions": []}, "transactions: it names none"),
        ("undo", {"transactions": [OTHER]}, f"transactions: transaction {OTHER} is of other"),
        ("undo", {"transactions": [NOBODYS]}, "transactions: "),
        ("undo", {"transactions": ["../../../etc"]}, "transactions: unknown transaction"),
        ("undo", {"transactions": IDENT}, "transactions: "),
        ("follow", {"opened": {"transactions": [IDENT], "live": "../../etc/x"}}, "transactions: "),
        ("follow", {"opened": {"transactions": [], "live": "tend"}}, "transactions: "),
        ("follow", {"opened": {"transactions": [OTHER], "live": OTHER}}, "transactions: "),
        ("confirm", {"unit": "ssh.service"}, "units: "),
        ("confirm", {"figures": {"latencySeconds": "long"}}, "transactions: "),
        ("prove", {"unit": "ssh.service"}, "units: "),
        ("prove", {"transaction": OTHER}, "transactions: "),
        ("prove", {"verdict": "confirmed"}, "transactions: "),
        ("prove", {"why": "two\nlines"}, "transactions: "),
        ("prove", {"figures": {"restarts": "none"}}, "transactions: "),
        ("confirm", {"transactions": [OTHER]}, "transactions: "),
        ("acknowledge", {"transactions": [OTHER]}, "transactions: "),
        (
            "acknowledge",
            {"notices": {"about": "deploy-worker of ssh.service", "messages": ["x"]}},
            "transactions: deploy-worker of ssh.service names none of the units",
        ),
        ("submit", {"request": {"kind": "shell"}}, "probes: "),
        ("submit", {"request": None}, "probes: "),
    ],
)
def test_what_is_not_in_the_policy_is_refused(
    at: Hardened, ask: str, changed: Dict[str, Any], reason: str
) -> None:
    found = refused({**messages(at)[ask], **changed}, at)
    assert found.startswith(reason), found


def test_a_refusal_says_which_operation_it_is_about(at: Hardened) -> None:
    good = messages(at)["apply"]["operations"][0]
    plan = [good, {**good, "unit": "ssh.service"}]
    assert refused({**messages(at)["apply"], "operations": plan}, at) == (
        "units: ssh.service is not one of shop-worker.service (operation 2 of 2)"
    )


def test_a_plan_changes_a_file_once(at: Hardened) -> None:
    """Each is compared with what is there now: a second one could undo what the first one keeps."""
    install = {
        "op": "install-unit",
        "title": "a",
        "why": "b",
        "unit": UNIT,
        "path": at.unit_path,
        "text": at.text,
        "expects": SHA,
    }
    message = messages(at)["apply"]
    requests.judge({**message, "operations": [install]}, at.scene())
    found = refused({**message, "operations": [install, install]}, at)
    assert found == f"files: the plan changes {at.unit_path} twice"


def test_probes_are_those_of_the_policy(at: Hardened) -> None:
    task = {
        "kind": "task",
        **canary(at),
        "task": "shop.tasks.probe",
        "queue": None,
        "calls": [{"args": [1]}],
    }
    del task["queues"]
    http = {
        "kind": "http",
        "method": "POST",
        "url": "http://127.0.0.1:8000/api/jobs",
        "form": {"a": "b"},
        "pollUrl": "/api/jobs/{job.id}",
        "field": "status",
        "done": ["done"],
        "failed": [],
        "timeoutSeconds": 30,
    }

    def submit(request: Dict[str, Any]) -> Dict[str, Any]:
        return {**messages(at)["submit"], "request": request}

    requests.judge(submit(task), at.scene())
    requests.judge(submit(http), at.scene())
    assert "tasks: " in refused(submit({**task, "task": "os.system"}), at)
    assert "tasks: " in refused(submit(task), at, tasks=[])
    assert "urls: " in refused(submit({**http, "url": "http://10.0.0.1/"}), at)
    assert "urls: " in refused(submit({**http, "pollUrl": "http://{a}/api/"}), at)
    assert "urls: " in refused(submit({**http, "pollUrl": "//evil/api/"}), at)
    assert "urls: " in refused(submit({**http, "pollUrl": "/{a}/x"}), at)
    assert "urls: " in refused(submit({**http, "method": "DELETE"}), at)
    clean = {"method": "DELETE", "url": "/api/jobs/{job.id}", "form": {}}
    requests.judge(submit({**http, "clean": clean}), at.scene())
    own = {**clean, "url": "http://127.0.0.1:8000/api/jobs/{task_id}"}
    requests.judge(submit({**task, "clean": own}), at.scene())
    for url in ("http://{a}/api/", "//evil/api/", "/{a}/x", "http://10.0.0.1/{task_id}"):
        assert "urls: " in refused(submit({**http, "clean": {**clean, "url": url}}), at)
        assert "urls: " in refused(submit({**task, "clean": {**clean, "url": url}}), at)
    assert "urls: " in refused(submit({**http, "clean": {**clean, "method": "GET"}}), at)
    shell = {**canary(at), "kind": "canary", "interpreter": ["sh"]}
    assert "interpreter: " in refused(submit(shell), at)


def test_a_copy_is_not_larger_than_the_policy_says(at: Hardened) -> None:
    scene = at.scene(limits={"bytes": 100})
    found = requests.narrowed(messages(at)["snapshot"], scene)
    assert found["limitBytes"] == 100


def test_an_undo_may_repair_a_unit_that_does_not_load(at: Hardened) -> None:
    at.load(LoadState="bad-setting")
    requests.judge(messages(at)["undo"], at.scene())
    at.load(User="root")
    assert refused(messages(at)["undo"], at).startswith("appUser: ")


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "install-sudoers", "path": "/etc/sudoers.d/celeriac"},
        {"op": "exec"},
        {"op": "write-file", "path": "/etc/sudoers.d/celeriac"},
        {"op": "install-unit", "unit": "ssh.service", "path": "/etc/systemd/system/ssh.service"},
        {"op": "set-mode", "path": "/etc/shadow"},
        None,
    ],
)
def test_no_other_operation_is_undone(at: Hardened, operation: Any) -> None:
    """Whoever made that transaction: root may have, of the same unit."""
    path = Path(at.host.state) / "transactions" / IDENT / "plan.json"
    plan = json.loads(path.read_text())
    good = {"op": "install-unit", "unit": UNIT, "path": f"/etc/systemd/system/{UNIT}"}
    path.write_text(json.dumps({**plan, "operations": [good]}))
    requests.judge(messages(at)["undo"], at.scene())
    path.write_text(json.dumps({**plan, "operations": [good, operation]}))
    assert refused(messages(at)["undo"], at)


def test_too_many_levels_are_refused(at: Hardened) -> None:
    deep: Any = []
    for _ in range(100):
        deep = [deep]
    message = {**messages(at)["look"], "query": {"host": {}, "x": deep}}
    assert "at most" in refused(message, at)
