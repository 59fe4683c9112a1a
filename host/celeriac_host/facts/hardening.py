"""What hardened mode is made of: the installed agent, the user that logs in, sshd, sudo."""

from __future__ import annotations

import os
import time
from typing import Any, Iterator

from celeriac_host.facts.files import file_fact, octal_mode
from celeriac_host.system import accounts, files, installed
from celeriac_host.system.identities import user_name
from celeriac_host.system.system import System

# What may keep a key out although it is in authorized_keys, or lets other keys in.
SSHD = {
    "allowgroups",
    "allowusers",
    "authorizedkeysfile",
    "authorizedkeyscommand",
    "denygroups",
    "denyusers",
    "forcecommand",
    "pubkeyauthentication",
}
ROOT = "/"
SEARCH_SECONDS = 40.0
SHOWN = 5
# Nothing below these is on a disk.
SKIPPED = ("/proc", "/sys", "/dev", "/run")


def look(args: dict[str, Any], host: System) -> dict[str, Any]:
    """A HardeningFact."""
    users = args["users"]
    python = installed.python()
    return {
        "python": python,
        "version": installed.version(),
        "agent": _agent(args["agent"], python),
        "accounts": {user: accounts.describe(user) for user in users},
        "owned": {user: owned(user) for user in users} if args["search"] else None,
        "sshd": {user: _sshd(user, host) for user in users},
        "sudoers": _sudoers(host),
        "folders": {path: _names(path) for path in args["folders"]},
        "loose": [each for path in (*args["guarded"], python) for each in _loose(path)],
    }


def _names(folder: str) -> list[str] | None:
    return files.names(folder) if os.path.isdir(folder) else None


def _agent(path: str, python: str) -> dict[str, Any]:
    fact = file_fact(path)
    if fact["kind"] != "file":
        return fact
    found = files.find(path)
    return {
        "kind": "agent",
        "sha256": fact["sha256"],
        "mode": fact["mode"],
        "owner": fact["owner"],
        "version": None if found is None else installed.version_of(found.content),
        "same": installed.is_this(found, python),
    }


def _sshd(user: str, host: System) -> dict[str, list[str]] | None:
    """The settings of sshd for this user; None if they are not known."""
    # Which settings apply may depend on who logs in, and from where.
    about = f"user={user},host=localhost,addr=127.0.0.1"
    done = host.run(["/usr/sbin/sshd", "-T", "-C", about], timeout=15, check=False)
    if done.code != 0:
        return None
    found: dict[str, list[str]] = {}
    for line in done.out.splitlines():
        key, _, value = line.partition(" ")
        if key in SSHD:
            found.setdefault(key, []).extend(value.split())
    return found


def _sudoers(host: System) -> dict[str, Any]:
    done = host.run(["visudo", "-c"], timeout=15, check=False)
    return {
        "visudo": done.code != 127,
        "problem": None if done.code in (0, 127) else "\n".join(done.lines()),
    }


def _loose(path: str) -> Iterator[dict[str, Any]]:
    """The parts of a path, as far as it exists, that another than root could change."""
    parts = [path]
    while parts[-1] != "/":
        parts.append(os.path.dirname(parts[-1]))
    for part in reversed(parts):
        try:
            about = os.stat(part)
        except OSError:
            return
        if about.st_uid != 0 or about.st_mode & 0o022:
            mode = octal_mode(about.st_mode)
            yield {"path": part, "owner": user_name(about.st_uid), "mode": mode}


def owned(user: str) -> dict[str, Any]:
    """What a user owns on local disks, beside its account."""
    account = accounts.find(user)
    if account is None:
        return {"paths": [], "whole": True}
    paths: list[str] = []
    end = time.monotonic() + SEARCH_SECONDS
    for folder, folders, names in os.walk(ROOT):
        if time.monotonic() > end:
            return {"paths": paths, "whole": False}
        folders[:] = [each for each in folders if _is_on_disk(os.path.join(folder, each))]
        for name in (*folders, *names):
            path = os.path.join(folder, name)
            try:
                about = os.lstat(path)
            except OSError:
                continue
            if about.st_uid == account.uid:
                paths.append(path)
                if len(paths) >= SHOWN:
                    return {"paths": paths, "whole": False}
    return {"paths": paths, "whole": True}


def _is_on_disk(folder: str) -> bool:
    return folder not in SKIPPED
