"""Folders of an unprivileged user who attacks, and what it tries to have run as root."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path
from typing import Mapping

NOBODY = 65534
UNIT = "shop-worker.service"
# A command that says as whom it ran, and hands on what a filter gets.
TELL = 'sh -c "id -u >>%s; cat"'


def answers(user: str, **more: str) -> dict[tuple[str, ...], tuple[int, str]]:
    """What systemd says about a unit of this user."""
    known = {"LoadState": "loaded", "User": user, **more}
    shown = "".join(f"{name}={value}\n" for name, value in known.items())
    return {("systemctl", "show"): (0, shown), ("systemctl", "show-environment"): (0, "")}


def git(folder: Path, *words: str) -> str:
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}
    argv = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost", "-C", str(folder)]
    safe = ["-c", "safe.directory=*"]
    done = subprocess.run([*argv, *safe, *words], env=env, check=True, stdout=subprocess.PIPE)
    return done.stdout.decode("utf-8").strip()


def make_checkout(folder: Path, files: Mapping[str, str], uid: int) -> str:
    """A checkout of these files; returns its commit."""
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch=main")
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", "first")
    give(folder, uid)
    return git(folder, "rev-parse", "HEAD")


def give(folder: Path, uid: int) -> None:
    """Like `chown -R`."""
    for where, folders, names in os.walk(folder):
        for path in [where, *(os.path.join(where, name) for name in folders + names)]:
            os.chown(path, uid, uid, follow_symlinks=False)


def owners(folder: Path) -> set[int]:
    """Of everything below a folder, links themselves."""
    found = set()
    for where, folders, names in os.walk(folder):
        found |= {os.lstat(os.path.join(where, name)).st_uid for name in folders + names}
    return found


def marker(folder: Path) -> Path:
    """A file to which everybody may append."""
    path = folder / "ran-as"
    path.touch()
    path.chmod(stat.S_IRUSR | 0o666)
    return path
