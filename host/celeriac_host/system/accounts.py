"""The system users that log in for hardened mode: made, described and removed."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from contextlib import suppress
from typing import Any, NamedTuple

from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System

# The comment of an account that `create-user` made; no other account is ever removed.
COMMENT = "Celeriac deploys (celeriac harden)"
# A forced command is run by the login shell, so there must be one.
SHELL = "/bin/sh"


class Account(NamedTuple):
    """An entry of the user database."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str
    comment: str
    groups: list[str]


def find(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    others = sorted(group.gr_name for group in grp.getgrall() if name in group.gr_mem)
    return Account(
        name, entry.pw_uid, entry.pw_gid, entry.pw_dir, entry.pw_shell, entry.pw_gecos, others
    )


def is_ours(account: Account | None) -> bool:
    return account is not None and account.comment == COMMENT


def create(name: str, home: str, host: System, ids: tuple[int, int] | None = None) -> None:
    """Adds the user and its group; it has no password. Raises OperationError."""
    argv = ["useradd", "--system", "--no-create-home", "--home-dir", home, "--shell", SHELL]
    # `*`: no password fits. `!` would also lock the key out where sshd does not use PAM.
    argv += ["--comment", COMMENT, "--password", "*"]
    if ids is None:
        argv += ["--user-group"]
    else:
        uid, gid = ids
        if not any(group.gr_gid == gid for group in grp.getgrall()):
            host.run(["groupadd", "--system", "--gid", str(gid), name])
        argv += ["--uid", str(uid), "--gid", str(gid)]
    host.run([*argv, name])


def remove(name: str, host: System) -> None:
    """Removes the user, and its group if that has no other member. Raises OperationError."""
    host.run(["userdel", name], timeout=60)
    with suppress(KeyError):
        grp.getgrnam(name)
        host.run(["groupdel", name], check=False)


def make_folders(home: str, host: System) -> list[str]:
    """Makes what is missing of home and `.ssh`, for root alone to change; innermost first.

    The user must not be able to change what may log in as it. Raises OperationError.
    """
    made: list[str] = []
    for folder in (home, os.path.join(home, ".ssh")):
        with suppress(FileExistsError):
            os.mkdir(folder, 0o755)
            made.insert(0, folder)
        about = os.lstat(folder)
        if not stat.S_ISDIR(about.st_mode) or about.st_uid != 0 or about.st_mode & 0o022:
            raise OperationError(
                f"{folder} exists and is not a folder that only root can change; "
                "move it away, or choose another user"
            )
        os.chmod(folder, 0o755)
    # With SELinux, sshd only reads keys that have the label of their place.
    host.run(["restorecon", "-R", home], check=False)
    return made


def process_count(uid: int) -> int:
    count = 0
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            count += os.stat(f"/proc/{name}").st_uid == uid
    return count


def describe(name: str) -> dict[str, Any] | None:
    """The account as a fact; None if there is none."""
    account = find(name)
    if account is None:
        return None
    return {
        "uid": account.uid,
        "home": account.home,
        "shell": account.shell,
        "groups": account.groups,
        "ours": is_ours(account),
        "processes": process_count(account.uid),
    }
