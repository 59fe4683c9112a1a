"""Installs the packages of a lock file into the app's virtual environment while the worker runs.

Touches: the virtual environment of the unit's interpreter, as the app's user, who must own it.
Undo: restores the environment from a copy by hard links that is kept in it (.celeriac); fails if
  that copy no longer exists (two installations later).
"""

from __future__ import annotations

import os
import re
import shutil
import time
from contextlib import contextmanager, suppress
from typing import Any, Iterator

from celeriac_host.code import environments, git, objects, trees, undo_user
from celeriac_host.code.environments import Environment
from celeriac_host.state.journal import StepJournal
from celeriac_host.system import app_user
from celeriac_host.system.errors import OperationError
from celeriac_host.system.identities import Identity, identity
from celeriac_host.system.system import System, Tick

NOTE_SECONDS = 5.0
REMOVAL_SECONDS = 300.0
EVIDENCE_LINES = 20
OTHER_COPIES = 1
TEMPORARY = "tmp"
EDITABLE = re.compile(r"^\s*(?:-e|--editable)\b")


def check(args: dict[str, Any], host: System) -> bool:
    environment = _environment(args, host)
    known = environments.recorded(host.state, args["unit"]) or {}
    return known.get("lock") == args["lock"] and known.get("prefix") == environment.prefix


def do(args: dict[str, Any], host: System, journal: StepJournal) -> str:
    environment = _environment(args, host)
    keep = time.strftime("%Y%m%dT%H%M%S", time.gmtime()) + "-" + os.urandom(2).hex()
    journal.keep(
        "was",
        {
            "prefix": environment.prefix,
            "keep": keep,
            "scratch": f"/var/tmp/celeriac-dependencies-{keep}",
            "record": environments.recorded(host.state, args["unit"]),
        },
    )
    asked = {"root": environment.prefix, "keep": keep, "others": OTHER_COPIES}
    stale = trees.work(host, environment.user, "environment", "keep", asked)
    trees.remove(host, environment.user, _store(environment.prefix), stale)
    # From here on an undo may need the copy.
    journal.keep("kept", True)
    before = _installed(host, environment)
    with _sources(args, environment.user, journal.get("was")["scratch"], host) as folder:
        temporary = os.path.join(journal.get("was")["scratch"], TEMPORARY)
        # Not listed at all: pip itself will say why.
        has_pip = "pip" in before or not before
        _install(args, environment, folder, temporary, has_pip, host)
    after = _installed(host, environment)
    os.sync()
    environments.record(
        host.state,
        args["unit"],
        {
            "lock": args["lock"],
            "file": args["file"],
            "tool": args["tool"],
            "prefix": environment.prefix,
            "interpreter": list(args["interpreter"]),
            "at": time.time(),
        },
    )
    return f"{args['file']} is installed in {environment.prefix}: {_difference(before, after)}"


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    was = journal.get("was")
    if was is None:
        return None
    prefix, user = was["prefix"], undo_user.of_step(args, host, journal)
    if not journal.get("kept"):
        # Nothing was installed; an interrupted copy must not take the place of a whole one.
        store = _store(prefix)
        names = [was["keep"] + end for end in ("", ".part", ".failed")]
        trees.remove(host, user, store, names)
        return None
    _remove_scratch(was["scratch"], host)
    if not os.path.isdir(os.path.join(_store(prefix), was["keep"])):
        if environments.recorded(host.state, args["unit"]) != was["record"]:
            raise OperationError(
                f"cannot restore {prefix}: its copy no longer exists; deploy the earlier commit "
                "again to install its lock file"
            )
        return f"{prefix} restored"
    # Before the copy is moved: an undo that is interrupted after that could not tell.
    environments.record(host.state, args["unit"], was["record"])
    asked = {"root": prefix, "keep": was["keep"]}
    trees.work(host, user, "environment", "restore", asked)
    trees.remove(host, user, _store(prefix), [was["keep"] + ".failed"])
    return f"{prefix} restored"


def _environment(args: dict[str, Any], host: System) -> Environment:
    """Installers run what packages bring, so never as root unless the app itself runs as root."""
    user = app_user.named(args)
    unit = args["unit"]
    if user.uid == 0:
        runs = app_user.name_of_unit(host, unit)
        if identity(runs).uid != 0:
            raise OperationError(
                f"{unit} runs as {runs}, so its packages are not installed as root; give the "
                f"virtual environment to {runs}, or to the user in the input `app-user`"
            )
    return environments.find(host, unit, args["interpreter"], user)


def _store(prefix: str) -> str:
    return os.path.join(prefix, ".celeriac")


@contextmanager
def _sources(args: dict[str, Any], user: Identity, scratch: str, host: System) -> Iterator[str]:
    """The commit's files in a folder of the app's user: those of the commit, filtered by nothing.

    `scratch` also has a folder for temporary files, which interrupted installers leave behind.
    """
    os.mkdir(scratch, 0o700)
    try:
        temporary = os.path.join(scratch, TEMPORARY)
        os.mkdir(temporary, 0o700)
        folder = args.get("release")
        if folder is None:
            folder = os.path.join(scratch, "tree")
            checkout = git.require(host, user, args["checkout"])
            with objects.opened(host, checkout) as found:
                objects.write_commit(found, git.require_commit(args["commit"]), folder, user)
        if os.geteuid() == 0:
            # Nobody but the user gets in; the folder itself stays root's.
            os.chown(temporary, user.uid, user.gid)
            os.chown(scratch, -1, user.gid)
            os.chmod(scratch, 0o750)
        yield folder
    finally:
        _remove_scratch(scratch, host)


def _remove_scratch(folder: str, host: System) -> None:
    """By rm: a package can make folders so deep that Python cannot remove them."""
    # What it leaves is no reason not to restore the environment.
    with host.shielded(), suppress(OperationError):
        argv = ["rm", "-rf", "--one-file-system", "--", folder]
        host.run(argv, timeout=REMOVAL_SECONDS, check=False)


def _install(
    args: dict[str, Any],
    environment: Environment,
    folder: str,
    temporary: str,
    has_pip: bool,
    host: System,
) -> None:
    file = os.path.join(folder, args["file"])
    text = trees.work(host, environment.user, "environment", "read-lock", {"file": file})
    if text is None:
        raise OperationError(f"{args['file']} is not in commit {git.short(args['commit'])}")
    where = os.path.dirname(file)
    if args["tool"] == "uv":
        argv = ["uv", "sync", "--frozen", "--no-install-project", "--no-progress"]
        # Not the Python that uv would choose or download.
        argv += ["--python", environment.python, "--no-python-downloads"]
    else:
        _refuse_editable(args["file"], text)
        argv = [*_pip(environment, has_pip), "--requirement", file]
    program = "uv sync" if args["tool"] == "uv" else "pip install"
    begun = time.monotonic()

    def tell() -> None:
        host.note(f"{program}: running for {time.monotonic() - begun:.0f} s")

    done = host.run(
        # It enters the folder as the user: root would pass folders that the user may not enter.
        ["env", f"--chdir={where}", *argv],
        timeout=args["timeoutSeconds"],
        user=environment.user,
        cwd="/",
        env={
            "PATH": _path(environment),
            "VIRTUAL_ENV": environment.prefix,
            "UV_PROJECT_ENVIRONMENT": environment.prefix,
            "PYTHONNOUSERSITE": "1",
            "TMPDIR": temporary,
        },
        check=False,
        tick=Tick(NOTE_SECONDS, tell),
        # The package index may be where the worker has no business.
        network_of_unit=False,
    )
    if done.code != 0:
        lines = done.lines(EVIDENCE_LINES)
        errors = [each for each in lines if re.match(r"\s*(?:ERROR|error)\b", each)]
        why = (errors or lines or [f"exit code {done.code}"])[-1].strip()
        raise OperationError(
            f"{program} of {args['file']} failed as {environment.user.name}: {why}",
            ran=argv,
            exit_code=done.code if done.code >= 0 else None,
            evidence=lines,
        )


def _pip(environment: Environment, has_pip: bool) -> list[str]:
    """pip, or uv's own where uv made the environment: without pip."""
    if has_pip:
        # -I: pip itself, not a module of that name in the folder or on PYTHONPATH.
        argv = [environment.python, "-I", "-m", "pip", "install", "--no-input"]
        return [*argv, "--progress-bar=off", "--disable-pip-version-check"]
    uv = shutil.which("uv", path=_path(environment))
    if uv is None:
        raise OperationError(
            f"{environment.prefix} has no pip, and {environment.user.name} has no uv: install uv "
            f"in /usr/local/bin, or pip with `{environment.python} -m ensurepip`"
        )
    return [uv, "pip", "install", "--no-progress", "--python", environment.python]


def _path(environment: Environment) -> str:
    """With the folder into which uv's own installer puts uv."""
    own = [environment.prefix + "/bin", environment.user.home + "/.local/bin"]
    return ":".join([*own, "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"])


def _refuse_editable(name: str, text: str) -> None:
    for number, each in enumerate(text.splitlines(), 1):
        if EDITABLE.match(each):
            raise OperationError(
                f"{os.path.basename(name)}:{number} installs an editable package "
                f"({each.strip()}) from a folder that is removed afterwards; put the app on "
                "PYTHONPATH, or name the package without -e"
            )


def _installed(host: System, environment: Environment) -> dict[str, str]:
    """Name → version of the packages that are installed in the environment."""
    code = (
        "import importlib.metadata as m, json; "
        "print(json.dumps({d.metadata['Name']: d.version for d in m.distributions()}))"
    )
    argv = [environment.python, "-I", "-c", code]
    done = host.run(argv, timeout=120, user=environment.user, cwd="/", check=False)
    return trees.parsed(done.out)


def _difference(before: dict[str, str], after: dict[str, str]) -> str:
    changed = [
        f"{name} {before.get(name, 'none')} → {after.get(name, 'none')}"
        for name in sorted({*before, *after}, key=str.lower)
        if before.get(name) != after.get(name)
    ]
    shown = ", ".join(changed[:8])
    return (f"{shown} and {len(changed) - 8} more" if len(changed) > 8 else shown) or "no change"
