"""Imports the app as the worker would, before anything is stopped; may also connect to its broker.

Touches: nothing.
Undo: nothing to undo.
"""

from __future__ import annotations

import os
import re
from typing import Any, Mapping

from celeriac_host.app import app_process, code_folders, reach, visibility
from celeriac_host.state.journal import StepJournal
from celeriac_host.system import unit_context, unit_journal
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System

EVIDENCE_LINES = 12
ANSWER = "celeriac: the app imports"
# Behind the module that all our programs load the app by. `-I` comes last, as in a worker.
CODE = f"""
try:
    app = load_app(sys.argv[1])
except Problem as problem:
    raise problem.__cause__ from None
for name in sys.argv[2:]:
    app.loader.import_task_module(name)
print({ANSWER!r})
"""


def check(args: dict[str, Any], host: System) -> bool:
    return False


def do(
    args: dict[str, Any], host: System, journal: StepJournal
) -> str | tuple[str, dict[str, Any]]:
    unit, app = args["unit"], args["app"]
    where = _inside(unit_context.context(host, unit), args["directory"])
    where = code_folders.moved(where, args.get("instead"))
    interpreter = code_folders.instead(args["interpreter"], args.get("instead"))
    asked, broker = args.get("visibility"), args.get("broker")
    code = app_process.source(app_process.SHARED) + CODE
    code += (visibility.TELL if asked else "") + (reach.TELL if broker else "")
    ran = [*interpreter, "-c", "(imports the app)", app]
    _refuse_unwanted(args.get("unwanted"), where.environment)
    try:
        done = unit_context.run_as(
            host,
            where,
            [*unit_context.expanded(interpreter, where), "-c", code, app, *args["modules"]],
            timeout=args["timeoutSeconds"],
            # No byte code: the code may be undone, and Python compares only its size and second.
            env={"PYTHONDONTWRITEBYTECODE": "1"},
            check=False,
        )
    except OperationError as error:
        raise OperationError(
            f"could not import the app {app}: {error.message}",
            ran=ran,
            evidence=error.evidence,
        ) from None
    if done.code != 0 or ANSWER not in done.out:
        # Without the lines that mark columns.
        lines = [line for line in done.lines(40) if line.strip(" ^~")][-EVIDENCE_LINES:]
        what = unit_journal.last_exception(lines) or (lines[-1].strip() if lines else "no output")
        raise OperationError(
            f"the app {app} does not import as user {where.identity.name} "
            f"in {where.directory}: {what}",
            ran=ran,
            exit_code=done.code if done.code >= 0 else None,
            evidence=lines,
        )
    said = f"the app {app} imports as user {where.identity.name} in {where.directory}"
    remarks: list[str] = []
    result: dict[str, Any] = {}
    for module, wish in ((reach, broker), (visibility, asked)):
        if wish:
            remark, more = module.compare(wish, module.read(done.out))
            remarks += [remark] if remark else []
            result.update(more)
    return ("; ".join([said, *remarks]), result) if asked or broker else said


def _refuse_unwanted(unwanted: dict[str, Any] | None, environment: Mapping[str, str]) -> None:
    """Raises OperationError if a variable has one of these words, e.g. from an EnvironmentFile=."""
    for name in unwanted["variables"] if unwanted else ():
        words = re.split(r"[\s\"']+", environment.get(name, ""))
        found = next((word for word in words if unwanted and word in unwanted["words"]), None)
        if unwanted and found:
            said = f"the variable {name} contains {found}: {unwanted['why']}"
            raise OperationError(said, evidence=[unwanted["fix"]])


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> None:
    return None


def _inside(where: unit_context.Context, directory: str | None) -> unit_context.Context:
    """The context in the directory to which the worker changes (`--workdir`, `cd`)."""
    if directory is None:
        return where
    return where._replace(directory=os.path.join(where.directory, directory))
