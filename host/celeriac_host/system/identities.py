"""Looks up users and groups by name or id."""

from __future__ import annotations

import grp
import os
import pwd
from typing import NamedTuple, Sequence

from celeriac_host.system.errors import OperationError


class Identity(NamedTuple):
    """The user that a command runs as."""

    name: str
    uid: int
    gid: int
    groups: Sequence[int]
    home: str
    shell: str


def identity(user: str, group: str = "", supplementary: Sequence[str] = ()) -> Identity:
    """Resolves names or numeric ids of a user and groups."""
    try:
        entry = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
    except KeyError:
        raise OperationError(f"user {user} does not exist on this host") from None
    gid = group_id(group) if group else entry.pw_gid
    groups = {gid, *os.getgrouplist(entry.pw_name, gid)}
    groups.update(group_id(name) for name in supplementary)
    return Identity(entry.pw_name, entry.pw_uid, gid, sorted(groups), entry.pw_dir, entry.pw_shell)


def group_id(group: str) -> int:
    try:
        return (grp.getgrgid(int(group)) if group.isdigit() else grp.getgrnam(group)).gr_gid
    except KeyError:
        raise OperationError(f"group {group} does not exist on this host") from None


def user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
