"""A password in a URL never goes into a message, a command line or to the runner."""

from __future__ import annotations

import json
import os
import random
import urllib.parse
from pathlib import Path
from typing import Callable, Dict, List

import pytest
from celeriac_host.app.programs import app_side
from celeriac_host.facts import stores
from celeriac_host.store import postgres, postgres_url
from celeriac_host.store.stores import open_store
from celeriac_host.system import identities, unit_context
from celeriac_host.system.errors import OperationError
from celeriac_host.system.identities import Identity
from hosts import Host

LETTERS = "QXZ73kq"
MARKS = "/?@:#%&=+,;!*{}[]\"'|<>$~^\\.-_ "
quote = urllib.parse.quote

FORMS: List[Callable[[str], str]] = [
    lambda secret: f"postgresql://app:{secret}@127.0.0.1:5432/jobs",
    lambda secret: f"postgres://app:{quote(secret, safe='')}@127.0.0.1:5432/jobs",
    lambda secret: f"postgresql+psycopg2://app:{secret}@127.0.0.1/jobs",
    lambda secret: f"db+postgresql://app:{secret}@127.0.0.1/jobs?sslmode=prefer",
    lambda secret: f"postgresql://app%3A{quote(secret, safe='')}@127.0.0.1/jobs",
    lambda secret: f"postgresql://127.0.0.1/jobs?password={secret}",
    lambda secret: f"postgresql://127.0.0.1:5432/jobs?pass%77ord={secret}",
    lambda secret: f"postgresql://127.0.0.1/jobs?sslpassword={secret}",
    lambda secret: f"postgresql://127.0.0.1/jobs?options=-c%20x%3D{secret}",
    lambda secret: f"postgresql://127.0.0.1:{secret}/jobs",
    lambda secret: f"postgresql://[{secret}/jobs",
    lambda secret: f"postgresql://127.0.0.1/{secret}?x=1",
]


def passwords(seed: int, count: int = 60) -> List[str]:
    source = random.Random(seed)
    signs = LETTERS * 4 + MARKS
    return [
        "Q7" + "".join(source.choices(signs, k=source.randint(8, 24))) + "7Z" for _ in range(count)
    ]


def parts(secret: str) -> List[str]:
    """Its longer runs, also encoded: a part of a password is a secret, too."""
    texts = (secret, quote(secret, safe=""))
    runs = [text[at : at + 6] for text in texts for at in range(max(len(text) - 5, 0))]
    return [run for run in runs if sum(sign in LETTERS for sign in run) > 3]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, host: Host) -> Dict[str, str]:
    """That of the unit; there is a psql that writes down how it was called."""
    found = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    where = unit_context.Context(_myself(), str(tmp_path), found)
    monkeypatch.setattr(unit_context, "context", lambda *_: where)
    host.answers["systemctl", "show"] = (0, f"LoadState=loaded\nUser={_myself().name}\n")
    fake = tmp_path / "psql"
    fake.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" >> {tmp_path}/argv\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", found["PATH"])
    return found


def _myself() -> Identity:
    return identities.identity(str(os.getuid()))


@pytest.mark.parametrize("form", FORMS)
def test_no_password_of_the_environment_leaves_the_host(
    form: Callable[[str], str], environment: Dict[str, str], host: Host, tmp_path: Path
) -> None:
    # Few: each starts psql.
    for secret in passwords(FORMS.index(form), 3):
        environment["DATABASE_URL"] = form(secret)
        found = stores.look({"databases": None, "unit": "worker.service"}, host)
        said = json.dumps(found, ensure_ascii=False) + " ".join(host.notes)
        argv = (tmp_path / "argv").read_text() if (tmp_path / "argv").exists() else ""
        assert [part for part in parts(secret) if part in said or part in argv] == []


@pytest.mark.parametrize("form", FORMS)
def test_no_password_of_a_request_is_accepted_or_repeated(
    form: Callable[[str], str], host: Host
) -> None:
    for secret in passwords(FORMS.index(form)):
        with pytest.raises(OperationError) as refused:
            open_store(form(secret), host, "worker.service")
        assert [part for part in parts(secret) if part in refused.value.message] == []


@pytest.mark.parametrize(
    "secret", ["a/b", "a?b", "a@b", "a:b", "a@b:c/d?e", "per%25cent", "hash#x", "p?w&x"]
)
def test_a_password_with_special_characters_is_found(secret: str) -> None:
    environment = {"A": f"postgresql+psycopg2://app:{secret}@db.test/jobs?sslmode=require"}
    urls, unread = postgres_url.in_environment(environment)
    assert [url.plain() for url in urls] == ["postgresql://app@db.test/jobs?sslmode=require"]
    assert unread == []
    wanted = urllib.parse.unquote(secret)
    assert postgres.password_for("postgresql://app@DB.test:5432/jobs", environment) == wanted


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://app:x@db.test:port/jobs",
        "postgresql://app:x@db.test:65536/jobs",
        "postgresql://app:x@[::1/jobs",
        "postgresql://db.test:5432/jobs?password=a@b",
        "postgresql://app:x@one.test,two.test/jobs",
    ],
)
def test_a_url_that_cannot_be_read_is_named_by_its_variable(
    url: str, environment: Dict[str, str], host: Host
) -> None:
    environment["JOBS_URL"] = url
    (found,) = stores.look({"databases": None, "unit": "worker.service"}, host)
    assert found["kind"] == "unreadable"
    assert "JOBS_URL" in found["problem"] and "percent-encoded" in found["problem"]


def test_a_url_with_known_options_is_passed_on_as_it_is() -> None:
    for url in (
        "postgresql://app@[::1]:5432/jobs?sslmode=verify-full&sslrootcert=/etc/ca.pem",
        "postgresql:///jobs?host=/run/postgresql",
        "postgresql://app%40corp@db.test/jobs?options=-csearch_path%3Dapp",
    ):
        assert postgres_url.checked(url) == url


@pytest.mark.parametrize("secret", ["a/b", "a@b@c", "a;b", "a%2Fb", "a?b#c"])
def test_the_app_reports_no_password_of_its_broker(secret: str) -> None:
    class App:
        def __init__(self) -> None:
            self.conf = {"broker_url": f"redis://:{secret}@localhost/0"}

    text = f"cannot connect to redis://:{secret}@localhost/0 with {urllib.parse.unquote(secret)}."
    said = app_side.masked(App(), text)
    assert secret not in said and urllib.parse.unquote(secret) not in said


def test_a_psql_that_does_not_stop_is_ended(
    environment: Dict[str, str], host: Host, tmp_path: Path
) -> None:
    user = _myself().name
    (tmp_path / "psql").write_text("#!/bin/sh\nwhile :; do echo '[1, 2]'; done\n")
    host.answers["systemctl", "show"] = (0, f"LoadState=loaded\nUser={user}\n")
    session = postgres.Session(host, "worker.service", "postgresql://app@localhost/jobs")
    with pytest.raises(OperationError, match=r"printed more than \d+ KiB"):
        postgres.stream(session, "SELECT 1;", lambda value: None, most_bytes=100_000)
