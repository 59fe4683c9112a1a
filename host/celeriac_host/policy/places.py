"""Paths that a request may name, each by its exact name, and who may change what is above them."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from typing import TYPE_CHECKING, Any, Mapping

from celeriac_host.policy import trusted, unit_text
from celeriac_host.policy.document import is_path
from celeriac_host.policy.refusal import Refused, one_of, shown
from celeriac_host.system import support
from celeriac_host.system.errors import OperationError
from celeriac_host.system.identities import identity

if TYPE_CHECKING:
    from celeriac_host.policy.scene import Scene

FSTAB = "/etc/fstab"
SYSCTL_FILE = "/etc/sysctl.d/99-zz-celeriac.conf"
UNITS_FOLDER = "/etc/systemd/system"
DROP_INS = ("celeriac.conf", "zz-celeriac.conf")
SUPPORT_FILE = f"{support.MODULE}.py"
SUPPORT_SOURCE = f"support/{SUPPORT_FILE}"
FILE_LIMIT_BYTES = 1024 * 1024
# What swapon(8) reads in fstab and what may stand in its line.
SWAP_OPTION = re.compile(r"sw|defaults|nofail|discard(?:=(?:once|pages))?|pri=[0-9]{1,5}")
COMMENT = "# Written by Celeriac (provision): swap is for emergencies, memory first."


def swap(value: Any, scene: Scene) -> None:
    allowed = scene.policy.swap
    if allowed is None or value != allowed.path:
        raise Refused("swap", f"{shown(value)} is not {one_of([allowed.path] if allowed else [])}")
    require_roots(value, scene, "swap")


def checkout(value: Any, scene: Scene) -> None:
    _exactly(value, scene.policy.checkout, "checkout", scene)


def deploy_to(value: Any, scene: Scene) -> None:
    _exactly(value, scene.policy.deploy_to, "deployTo", scene)


def below_deploy_to(value: Any, scene: Scene) -> None:
    """A folder of the app's code: the link `current`, or one release."""
    base = scene.policy.deploy_to
    pattern = re.escape(base) + r"/(?:current|releases/[0-9a-f]{40}(?:[0-9a-f]{24})?)"
    if not base or not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise Refused("deployTo", f"{shown(value)} is not a folder of the app's code")
    require_roots(base, scene, "deployTo")


def _exactly(value: Any, allowed: str, rule: str, scene: Scene) -> None:
    if not allowed or value != allowed:
        raise Refused(rule, f"{shown(value)} is not {one_of([allowed] if allowed else [])}")
    require_roots(allowed, scene, rule)


def database(value: Any, scene: Scene) -> None:
    """A file may be in a folder of the app's, where SQLite writes beside it."""
    if value not in scene.policy.databases or not isinstance(value, str):
        # It may contain a password, so it is not repeated.
        told = shown(value) if is_path(value) else "this database"
        raise Refused("databases", f"{told} is not {one_of(scene.policy.databases)}")
    if value.startswith("/"):
        require_roots(value, scene, "databases", or_app=True)


def require_roots(path: str, scene: Scene, rule: str, or_app: bool = False) -> None:
    """Every folder above the path is root's; with `or_app`, the lowest ones may be the app's.

    Raises Refused.
    """
    apps = False
    for folder in trusted.parents(path):
        try:
            if not apps:
                trusted.require_root(folder)
            else:
                _require_app(folder, scene)
        except trusted.Untrusted as error:
            if not (or_app and not apps and _is_app(folder, scene)):
                raise Refused(rule, f"the folders above {path} must be root's: {error}") from None
            apps = True


def _is_app(folder: str, scene: Scene) -> bool:
    try:
        _require_app(folder, scene)
    except trusted.Untrusted:
        return False
    return True


def _require_app(folder: str, scene: Scene) -> None:
    about = os.lstat(folder)
    try:
        whom = identity(scene.policy.app_user)
    except OperationError as error:
        raise trusted.Untrusted(error.message) from None
    if not stat.S_ISDIR(about.st_mode):
        raise trusted.Untrusted(f"{folder} is not a folder")
    if about.st_uid not in (0, whom.uid):
        raise trusted.Untrusted(f"{folder} belongs to neither root nor {whom.name}")
    if about.st_mode & stat.S_IWOTH:
        raise trusted.Untrusted(f"everybody may write to {folder}; chmod o-w {folder}")


# --- files that are written ---------------------------------------------------------------------


def known(value: Any, scene: Scene) -> None:
    """A path whose content a fact may tell: one that an operation may write, or see missing."""
    if value != "/" and not is_path(value):
        raise Refused("files", f"{shown(value)} is not a normalized absolute path")
    folder = os.path.dirname(scene.policy.swap.path) if scene.policy.swap else ""
    units = {path for unit in scene.policy.units for path in _of_unit(unit)}
    version = re.fullmatch(rf"{support.FOLDER}/{re.escape(SUPPORT_FILE)}", value)
    if value not in {FSTAB, SYSCTL_FILE, folder, *units} and version is None:
        raise Refused("files", f"{shown(value)} is not a file that Celeriac writes")
    if value != folder:
        require_roots_if_there(value, scene)


def require_roots_if_there(path: str, scene: Scene) -> None:
    """A folder that is missing would be made by root."""
    for folder in trusted.parents(path):
        if not os.path.lexists(folder):
            return
        try:
            trusted.require_root(folder)
        except trusted.Untrusted as error:
            raise Refused("files", str(error)) from None


def own_drop_in(value: Any, scene: Scene) -> None:
    paths = {path for unit in scene.policy.units for path in drop_ins(unit)}
    if not isinstance(value, str) or value not in paths:
        raise Refused("files", f"{shown(value)} is not a drop-in of Celeriac's")


def drop_ins(unit: str) -> list[str]:
    return [os.path.join(UNITS_FOLDER, f"{unit}.d", name) for name in DROP_INS]


def _of_unit(unit: str) -> list[str]:
    return [os.path.join(UNITS_FOLDER, unit), *drop_ins(unit)]


def judge_write(operation: Mapping[str, Any], scene: Scene) -> None:
    """`write-file`: known places with known content. Raises Refused."""
    path, text, mode = operation["path"], operation["text"], operation["mode"]
    known(path, scene)
    if path == FSTAB:
        _judge_fstab(text, mode, scene)
    elif path == SYSCTL_FILE:
        _judge_sysctl(text, scene)
    elif os.path.basename(path) == SUPPORT_FILE:
        _judge_support(path, text, scene)
    else:
        raise Refused("files", f"write-file does not write {path}")
    if mode != "0644" and path != FSTAB:
        raise Refused("files", f"the mode of {path} must be 0644")


def _judge_fstab(text: str, mode: str, scene: Scene) -> None:
    allowed = scene.policy.swap
    if allowed is None:
        raise Refused("swap", "the policy names no swap file")
    try:
        present = trusted.read(FSTAB, FILE_LIMIT_BYTES).decode("utf-8")
        wanted = f"{stat.S_IMODE(os.lstat(FSTAB).st_mode):04o}"
    except trusted.Untrusted as error:
        if os.path.lexists(FSTAB):
            raise Refused("files", str(error)) from None
        present, wanted = "", "0644"
    except UnicodeDecodeError:
        raise Refused("files", f"{FSTAB} is not UTF-8 text") from None
    if mode != wanted:
        raise Refused("files", f"the mode of {FSTAB} must stay {wanted}")
    before, after = _fstab_lines(present), _fstab_lines(text)
    others = [line for line in before if not _is_about(line, allowed.path)]
    if [line for line in after if not _is_about(line, allowed.path)] != others:
        raise Refused("files", f"only the line of {allowed.path} in {FSTAB} may change")
    own = [line for line in after if _is_about(line, allowed.path)]
    if len(own) != 1 or not (own[0] in before or _is_swap_line(own[0], allowed.path)):
        raise Refused("files", f"{FSTAB} must have one line for {allowed.path}, as swap")


def _fstab_lines(text: str) -> list[str]:
    """Its lines as fstab(5) has them: `splitlines` also ends one at a form feed or U+2028."""
    lines = text.split("\n")
    return lines if lines[-1] else lines[:-1]


def _is_about(line: str, path: str) -> bool:
    return re.split(r"[ \t]+", line.strip(" \t"))[0] == path


def _is_swap_line(line: str, path: str) -> bool:
    words = line.split(" ")
    if len(words) != 6 or words[:3] != [path, "none", "swap"] or words[4:] != ["0", "0"]:
        return False
    return all(SWAP_OPTION.fullmatch(option) for option in words[3].split(","))


def _judge_sysctl(text: str, scene: Scene) -> None:
    match = re.fullmatch(re.escape(COMMENT) + r"\n([a-z0-9_.-]+) = ([0-9]{1,10})\n", text)
    if match is None:
        raise Refused("sysctl", f"{SYSCTL_FILE} must have the one line of a setting")
    judge_setting(match.group(1), match.group(2), scene)


def judge_setting(name: Any, value: Any, scene: Scene) -> None:
    """Raises Refused unless the setting is in the policy, and the value in its bounds."""
    bounds = scene.policy.sysctl.get(name) if isinstance(name, str) else None
    if bounds is None:
        raise Refused("sysctl", f"{shown(name)} is not {one_of(list(scene.policy.sysctl))}")
    is_number = isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,10}", value)
    if not is_number or not bounds[0] <= int(value) <= bounds[1]:
        raise Refused("sysctl", f"{name} may be {bounds[0]} to {bounds[1]}, not {shown(value)}")


def _judge_support(path: str, text: str, scene: Scene) -> None:
    """The module of this very version, in the folder that its bytes name."""
    digest = hashlib.sha256(text.encode("utf-8")).hexdigest()[: support.DIGITS]
    if path != f"{support.ROOT}/{digest}/{SUPPORT_FILE}" or text != scene.sources.get(
        SUPPORT_SOURCE
    ):
        raise Refused(
            "files",
            f"{path} is not the support module of the agent on this host; the action has another "
            "version than the agent, which the owner of the server can renew",
        )


# --- unit files ---------------------------------------------------------------------------------


def judge_unit_file(name: Any, path: Any, text: str, scene: Scene) -> None:
    """A unit file or drop-in of Celeriac's as it will be. Raises Refused."""
    unit = scene.unit(name)
    if path not in _of_unit(name):
        raise Refused("unit text", f"{shown(path)} is not {one_of(_of_unit(name))}")
    require_roots_if_there(path, scene)
    own = drop_ins(name)
    lines = [(part, unit_text.parse(part.text)) for part in unit.parts]
    allowed = writable(name, scene)
    new = unit_text.parse(text)
    if path in own:
        others = [line for part, found in lines if part.path != path for line in found]
        for part, found in lines:
            if part.path == path:
                unit_text.judge_replaced(found, [*others, *new])
        below = [line for part, found in lines if part.path not in own for line in found]
        unit_text.judge_drop_in(new, below, allowed)
        return
    if "@" in name:
        raise Refused("unit text", f"{name} is an instance, which has a drop-in of its own")
    fragment = [line for part, found in lines[:1] for line in found]
    merged = [line for part, found in lines[1:] if part.path in own for line in found]
    unit_text.judge_file(new, [*fragment, *merged], allowed)


def judge_removal(operation: Mapping[str, Any], scene: Scene) -> None:
    """`remove-file`: a drop-in of Celeriac's, whose restrictions move elsewhere. Raises Refused."""
    path = operation["path"]
    name = os.path.basename(os.path.dirname(path))[: -len(".d")]
    unit = scene.unit(name)
    lines = [(part.path, unit_text.parse(part.text)) for part in unit.parts]
    others = [line for place, found in lines if place != path for line in found]
    planned = [
        line
        for each in scene.operations
        if each.get("op") == "install-unit"
        and each.get("unit") == name
        and isinstance(each.get("text"), str)
        for line in unit_text.parse(each["text"])
    ]
    for place, found in lines:
        if place == path:
            unit_text.judge_replaced(found, [*others, *planned])


def judge_verified(operation: Mapping[str, Any], scene: Scene) -> None:
    """`verify-unit`: texts that install-unit might bring, or that are there. Raises Refused."""
    name = operation["unit"]
    unit = scene.unit(name)
    target = os.path.join(UNITS_FOLDER, name)
    present = unit.parts[0].text if unit.parts else None
    if operation["text"] != present:
        judge_unit_file(name, target, operation["text"], scene)
    for each in operation.get("dropIns", ()):
        if each["text"] != "":
            path = os.path.join(UNITS_FOLDER, f"{name}.d", each["name"])
            judge_unit_file(name, path, each["text"], scene)


def writable(name: str, scene: Scene) -> list[str]:
    """Paths for `ReadWritePaths=`."""
    policy = scene.policy
    spelled = scene.unit(name).seen.get("WorkingDirectory", "").lstrip("!")
    folders = [os.path.dirname(each) for each in policy.databases if each.startswith("/")]
    return [
        each
        for each in (*policy.writable_paths, *folders, policy.checkout, policy.deploy_to, spelled)
        if each.startswith("/") and each != "/"
    ] + ["/tmp", "/var/tmp"]
