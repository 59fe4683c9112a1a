"""What is told of the code on the disk, beside that of the release that runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from app_folders import NOBODY, git, give, make_checkout
from celeriac_host.code import placed
from celeriac_host.facts import releases
from celeriac_host.state.journal import PLAN, transactions_folder
from hosts import Host
from test_ledger import UNIT
from test_proofs import release, undo

pytestmark = pytest.mark.usefixtures("root")


def plan(state: str, ident: str, *operations: dict[str, Any]) -> None:
    folder = Path(transactions_folder(state)) / ident
    folder.mkdir(parents=True)
    (folder / PLAN).write_text(json.dumps({"operations": operations}))


def checkout(path: Path, commit: str, user: str = "nobody") -> dict[str, Any]:
    return {"op": "checkout-code", "checkout": str(path), "commit": commit, "user": user}


@pytest.mark.parametrize("uid", [0, NOBODY])
def test_a_checkout_that_was_moved_by_hand_is_told(state: str, open_folder: Path, uid: int) -> None:
    app = open_folder / "app"
    first = make_checkout(app, {"app.py": "A = 1\n"}, uid)
    user = "nobody" if uid else "root"
    plan(state, "t1", {"op": "start-unit"}, checkout(app, first, user), {"op": "prove-unit"})
    seen = {"path": str(app), "wanted": first, "problem": ""}
    assert placed.look(["t1"], Host(state)) == {**seen, "actual": first}
    git(app, "commit", "-q", "--allow-empty", "-m", "hotfix")
    give(app, uid)
    moved = git(app, "rev-parse", "HEAD").strip()
    assert moved != first
    assert placed.look(["t1"], Host(state)) == {**seen, "actual": moved}


def test_the_newest_release_that_stayed_and_put_code_in_place_counts(
    state: str, open_folder: Path
) -> None:
    app = open_folder / "app"
    first = make_checkout(app, {"app.py": "A = 1\n"}, NOBODY)
    plan(state, "t1", checkout(app, first))
    plan(state, "t2", {"op": "start-unit"})
    plan(state, "t3", checkout(app, "b" * 40))
    for ident in ("t1", "t2", "t3"):
        release(state, ident)
    told = releases.look({"unit": UNIT}, Host(state))["code"]
    assert (told["wanted"], told["actual"]) == ("b" * 40, first)
    undo(state, "t3")
    told = releases.look({"unit": UNIT}, Host(state))["code"]
    assert (told["wanted"], told["actual"]) == (first, first)


def test_the_link_of_uploaded_releases_is_read(state: str, open_folder: Path) -> None:
    base, commit = open_folder / "app", "a" * 40
    (base / "releases" / commit).mkdir(parents=True)
    (base / "current").symlink_to(f"releases/{commit}")
    give(base, NOBODY)
    switch = {"op": "switch-release", "deployTo": str(base), "commit": commit, "user": "nobody"}
    plan(state, "t1", switch)
    assert placed.look(["t1"], Host(state)) == {
        "path": str(base),
        "wanted": commit,
        "actual": commit,
        "problem": "",
    }


def test_what_cannot_be_read_is_unknown(state: str, open_folder: Path) -> None:
    plan(state, "t1", checkout(open_folder / "gone", "a" * 40))
    told = placed.look(["t1"], Host(state))
    assert told is not None
    assert told["actual"] is None
    assert told["problem"]


def test_without_code_of_a_release_nothing_is_compared(state: str) -> None:
    plan(state, "t1", {"op": "start-unit"})
    assert placed.look(["pruned", "t1"], Host(state)) is None
