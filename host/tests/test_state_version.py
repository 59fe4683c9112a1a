"""A state folder of an earlier version is read and continued; one of a newer version is refused."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest
from celeriac_host.policy import document
from celeriac_host.session import agent
from celeriac_host.state import ledger, notices, proofs, samples, sweeping, version
from celeriac_host.state.journal import Journal, remembered
from celeriac_host.system.errors import Fault
from celeriac_host.transaction import control, lock, runner
from hosts import Host
from state_fixture import FIRST, FIXTURES, SECOND, STATE, WORLD, write_state
from transactions import UNIT, World, begin, write

VERSIONS = sorted(path.name for path in FIXTURES.glob("state-v*"))
META = {"holder": "anna (run 8)", "action": "deploy-worker", "lockTimeoutSeconds": 0}


def silent(told: Any) -> None:
    pass


def contents(folder: str) -> Dict[str, bytes]:
    paths = sorted(Path(folder).rglob("*"))
    return {str(path): path.read_bytes() for path in paths if path.is_file()}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """As the two releases of the fixture left it."""
    world = World(tmp_path)
    world.changed.write_text("newest changed\n")
    world.new.parent.mkdir()
    world.new.write_text("new\n")
    world.removed.unlink()
    return world


@pytest.fixture(params=VERSIONS)
def host(request: pytest.FixtureRequest, tmp_path: Path, world: World) -> Host:
    """A host with the state of an earlier version."""
    state = tmp_path / "state"
    shutil.copytree(FIXTURES / request.param, state)
    for path in state.rglob("*"):
        if path.is_file():
            text = path.read_text().replace(WORLD, str(world.folder))
            path.write_text(text.replace(STATE, str(state)))
    return Host(str(state))


def test_there_is_a_fixture_of_this_version() -> None:
    assert f"state-v{version.VERSION}" in VERSIONS


def operations() -> List[str]:
    folder = Path(runner.__file__).parent.parent / "operations"
    verbs = (path.stem.replace("_", "-") for path in folder.glob("[a-z]*.py"))
    return sorted(verb for verb in verbs if known(verb))


def known(verb: str) -> bool:
    if verb in runner.RETIRED:
        return True
    try:
        return hasattr(runner.module_of({"op": verb}), "undo")
    except Fault:
        return False


def test_a_new_operation_raises_the_version() -> None:
    """An older Celeriac could not undo it, and must refuse the state of a newer one.

    Otherwise it would arm its own program as the guard, beneath a release that needs the newer.
    """
    pinned: Dict[str, List[str]] = json.loads((FIXTURES / "operations.json").read_text())
    assert sorted(map(int, pinned)) == list(range(1, version.VERSION + 1))
    assert operations() == pinned[str(version.VERSION)], (
        "raise VERSION in state/version.py, write its fixture (state_fixture.py), and list its"
        " operations in fixtures/operations.json; those of a released version stay as they are"
    )
    for verbs in pinned.values():
        assert [verb for verb in verbs if not known(verb)] == []


def test_releases_verdicts_and_samples_are_read(host: Host) -> None:
    known = [(each["id"], each["state"]) for each in remembered(host.state)]
    assert known == [(FIRST, "committed"), (SECOND, "committed")]
    releases = proofs.of_unit(host.state, UNIT)
    assert [(each["release"], each["verdict"]) for each in releases] == [
        (0, "none"),
        (1, "confirmed"),
        (2, "none"),
    ]
    assert releases[1]["soak"] == "proven"
    waiting = ledger.awaiting(host.state, UNIT)
    assert waiting is not None and waiting["transactions"] == [SECOND]
    assert notices.told(host.state) == {UNIT: ["the unit reads queues from a variable"]}
    found = samples.page(host.state, UNIT, None)["samples"]
    assert [each["at"] for each in found] == [1_780_000_000]


def test_it_is_rolled_back(host: Host, world: World) -> None:
    folders = [os.path.join(host.state, "transactions", each) for each in (SECOND, FIRST)]
    runner.refuse_foreign_changes(folders, host)
    for folder in folders:
        assert runner.undo(folder, host, silent)["result"] == "undone"
    assert world.look() == world.before


def test_it_is_continued(host: Host, world: World) -> None:
    control._make_state(host.state)
    third = begin(host.state, [write(world.new, "newest\n", "new\n")], "20260101T000002-0003")
    assert runner.carry_out(third, host, silent)["result"] == "committed"
    ledger.record(
        host.state, os.path.basename(third), json.loads(Path(third, "plan.json").read_text())
    )
    assert ledger.of_unit(host.state, UNIT)[-1]["release"] == 3
    assert runner.undo(third, host, silent)["result"] == "undone"
    assert world.new.read_text() == "new\n"


def test_what_this_version_writes_has_the_fields_of_its_fixture(tmp_path: Path) -> None:
    """A new or lost field is a decision: an older Celeriac of the same version must read it."""
    fresh = tmp_path / "fresh"
    write_state(str(fresh), World(tmp_path))
    fixture = FIXTURES / f"state-v{version.VERSION}"

    def fields(root: Path) -> Dict[str, List[List[str]]]:
        found: Dict[str, List[List[str]]] = {}
        for path in sorted(root.rglob("*.json*")):
            lines = path.read_text().splitlines()
            whole = [path.read_text()] if path.suffix == ".json" else lines
            found[str(path.relative_to(root))] = [sorted(json.loads(each)) for each in whole]
        return found

    assert fields(fresh) == fields(fixture)


@pytest.mark.parametrize("found", ["2\n", "10\n", "", "one\n"])
def test_a_newer_state_is_refused_and_left_as_it_is(state: str, world: World, found: str) -> None:
    host = Host(state)
    runner.carry_out(
        begin(state, [write(world.changed, "b\n", "newest changed\n")], FIRST), host, silent
    )
    Path(state, "version").write_text(found)
    before = contents(state)
    asks: List[Callable[[], Any]] = [
        lambda: control.apply([write(world.new, "c\n", "new\n")], META, host, silent),
        lambda: control.undo([FIRST], {**META, "unit": UNIT}, host, silent),
    ]
    for ask in asks:
        with pytest.raises(Fault, match="this Celeriac reads version 1; nothing was changed") as no:
            ask()
        assert repr(found.strip()) in no.value.message
        assert "the version of Celeriac that wrote it, or a newer one" in no.value.next
    assert contents(state) == before
    assert world.changed.read_text() == "b\n"


class Wire:
    """Sends requests, keeps answers."""

    def __init__(self, *messages: Dict[str, Any]) -> None:
        self.lines = [json.dumps(each).encode() for each in messages]
        self.sent: List[Dict[str, Any]] = []

    def receive(self) -> Any:
        return self.lines.pop(0) if self.lines else None

    def send(self, message: Dict[str, Any]) -> None:
        self.sent.append(message)


@pytest.mark.parametrize(
    "asked", [{"ask": "look", "query": {"past": {"unit": UNIT}}}, {"ask": "recover", "meta": META}]
)
def test_nobody_is_told_of_a_newer_state(state: str, asked: Dict[str, Any]) -> None:
    Path(state, "version").write_text("2\n")
    wire = Wire({"id": 1, **asked})
    agent.serve(wire, Host(state), agent.Open())  # type: ignore[arg-type]
    assert "has version '2'" in wire.sent[0]["fault"]["message"]


def test_the_mark_is_written_and_kept_by_the_clean_up(state: str) -> None:
    os.unlink(os.path.join(state, "version"))
    version.claim(state)
    sweeping.sweep(state)
    assert Path(state, "version").read_text() == f"{version.VERSION}\n"
    assert os.stat(os.path.join(state, "version")).st_mode & 0o777 == 0o600


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """From then on, this program is of that version."""

    def become(number: int) -> None:
        monkeypatch.setattr(version, "VERSION", number)
        monkeypatch.setattr(version, "READABLE", tuple(map(str, range(1, number + 1))))

    return become


def test_a_newer_version_claims_the_state_and_an_older_one_then_refuses(
    state: str, world: World, newer: Callable[[int], None]
) -> None:
    host = Host(state)
    first = begin(state, [write(world.changed, "b\n", "newest changed\n")], FIRST)
    runner.carry_out(first, host, silent)
    meta = {"unit": UNIT, "holder": "a", "actor": "", "sha": ""}
    ledger.record(state, FIRST, {"meta": meta, "operations": []})
    ledger.await_verdict(state, UNIT, FIRST, 900.0)
    program = Path(state, "program.py")
    program.write_text("that of the newer one")
    newer(2)
    # It only looks: nothing of it needs a newer reader.
    version.require(state)
    assert Path(state, "version").read_text() == "1\n"
    with control._locked(host, META):
        assert Path(state, "version").read_text() == "2\n"
    newer(1)
    before = contents(state)
    asks: List[Callable[[], Any]] = [
        lambda: control.apply([write(world.new, "c\n", "new\n")], META, host, silent),
        lambda: control.undo([FIRST], {**META, "unit": UNIT}, host, silent),
        lambda: control.confirm(UNIT, [FIRST], META, host),
    ]
    for ask in asks:
        with pytest.raises(Fault, match="has version '2', and this Celeriac reads version 1"):
            ask()
    assert {path: text for path, text in contents(state).items() if path in before} == before
    assert program.read_text() == "that of the newer one"


def test_an_older_one_that_waited_for_the_lock_refuses_too(
    state: str, newer: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = lock.take

    def take(host: Host, meta: Dict[str, Any]) -> lock.Lock:
        # Meanwhile a newer one was at work.
        Path(state, "version").write_text("2\n")
        return taken(host, meta)

    monkeypatch.setattr(lock, "take", take)
    with pytest.raises(Fault, match="has version '2', and this Celeriac reads version 1"):
        control.confirm(UNIT, [FIRST], META, Host(state))
    assert Path(state, "version").read_text() == "2\n"


def test_a_state_of_this_version_is_claimed_without_writing(state: str) -> None:
    path = Path(state, "version")
    about = os.stat(str(path))
    version.claim(state)
    assert os.stat(str(path)).st_ino == about.st_ino


def test_a_state_without_a_mark_is_claimed_only_once_the_lock_is_held(
    state: str, world: World, newer: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host(state)
    path = Path(state, "version")
    path.unlink()
    newer(2)
    with lock.take(host, {**META, "holder": "an older one"}):
        asks: List[Callable[[], Any]] = [
            lambda: control.apply([write(world.new, "c\n", "new\n")], META, host, silent),
            lambda: control.confirm(UNIT, [FIRST], META, host),
        ]
        for ask in asks:
            with pytest.raises(Fault, match="an older one"):
                ask()
            assert not path.exists()
    with control._locked(host, META):
        assert path.read_text() == "2\n"


def test_a_state_without_a_mark_is_of_the_first_version(state: str) -> None:
    os.unlink(os.path.join(state, "version"))
    version.require(state)
    version.require(os.path.join(state, "missing"))


def test_a_policy_for_a_newer_agent_is_refused_with_both_versions() -> None:
    policy = {"version": 2, "access": "change", "units": [UNIT], "appUser": "app"}
    with pytest.raises(document.Unusable, match="version: expected 1, found 2"):
        document.parse(json.dumps(policy).encode())


def test_a_journal_with_an_event_of_a_later_version_is_still_undone(
    host: Host, world: World
) -> None:
    folder = os.path.join(host.state, "transactions", SECOND)
    Journal(folder).write("measured", index=0, seconds=2)
    assert Journal(folder).state() == "committed"
    assert runner.undo(folder, host, silent)["result"] == "undone"
