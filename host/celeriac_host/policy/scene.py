"""The policy, the host and the request that is judged: what the rules look at."""

from __future__ import annotations

import os
from typing import Any, Mapping, NamedTuple, Sequence

from celeriac_host.policy import unit_text
from celeriac_host.policy.document import Policy
from celeriac_host.policy.refusal import Refused, one_of, shown
from celeriac_host.state.journal import IDENT, read_plan, transactions_folder
from celeriac_host.system import unit_values, units
from celeriac_host.system.errors import OperationError
from celeriac_host.system.identities import identity
from celeriac_host.system.system import System

PROPERTIES = (
    "LoadState",
    "User",
    "DynamicUser",
    "ExecStart",
    "ExecStartEx",
    "MainPID",
    "WorkingDirectory",
    "Environment",
    "FragmentPath",
    "DropInPaths",
)
# Flags of ExecStartEx with which a command is not the unit's user.
ELEVATED = ("privileged", "no-setuid", "ambient")


class Loaded(NamedTuple):
    """A unit of the policy, as systemd has loaded it."""

    name: str
    seen: Mapping[str, str]
    # The files that define it, in the order in which systemd reads them.
    parts: Sequence[unit_text.Part]


class Scene:
    """One request. Looks at a unit once, however many operations name it."""

    def __init__(
        self, policy: Policy, host: System, sources: Mapping[str, str], access: str
    ) -> None:
        self.policy = policy
        self.access = access
        self.host = host
        self.sources = sources
        # The operations of the plan that is judged.
        self.operations: Sequence[Mapping[str, Any]] = ()
        # Commit → who has signed it.
        self.signed: dict[str, str] = {}
        self._loaded: dict[str, Loaded] = {}
        self._plans: dict[str, Mapping[str, Any] | None] = {}

    def unit(self, name: Any) -> Loaded:
        """Raises Refused unless it is a unit of the policy that runs as the app's user."""
        if name not in self.policy.units or not isinstance(name, str):
            raise Refused("units", f"{shown(name)} is not {one_of(self.policy.units)}")
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def belongs(self, ident: Any, shared: bool) -> Sequence[Any]:
        """The operations of a transaction of one of the units. Raises Refused.

        `shared`: or of the host as a whole.
        """
        plan = self._plan(ident) if isinstance(ident, str) and IDENT.fullmatch(ident) else None
        if plan is None:
            raise Refused("transactions", f"unknown transaction {shown(ident)}")
        unit = plan.get("meta", {}).get("unit")
        if unit in self.policy.units or (shared and unit is None):
            found = plan.get("operations")
            return found if isinstance(found, list) else []
        raise Refused(
            "transactions",
            f"transaction {ident} is of {shown(unit or 'the host as a whole')}, which is not "
            f"{one_of(self.policy.units)}",
        )

    def _plan(self, ident: str) -> Mapping[str, Any] | None:
        """Read once, however often it is named."""
        if ident not in self._plans:
            folder = os.path.join(transactions_folder(self.host.state), ident)
            self._plans[ident] = read_plan(folder)
        return self._plans[ident]

    def _load(self, name: str) -> Loaded:
        try:
            seen = units.show(self.host, name, PROPERTIES)
            if seen.get("LoadState") != "loaded":
                raise Refused("units", f"{name} is {seen.get('LoadState', 'unknown')}, not loaded")
            self._require_app_user(name, seen)
        except OperationError as error:
            raise Refused("units", f"{name}: {error.message}") from None
        paths = [
            seen.get("FragmentPath", ""),
            *unit_values.split_words(seen.get("DropInPaths", "")),
        ]
        parts = [unit_text.read(path) for path in paths if path]
        return Loaded(name, seen, parts)

    def _require_app_user(self, name: str, seen: Mapping[str, str]) -> None:
        expected = self.policy.app_user
        user = seen.get("User") or "root"
        uid = identity(user).uid if seen.get("DynamicUser") != "yes" else -1
        if uid != identity(expected).uid or uid == 0:
            raise Refused("appUser", f"{name} runs as {user}, not as {expected}")
        flags = seen.get("ExecStartEx", "").replace(";", " ").replace("=", " ").split()
        if any(flag in ELEVATED for flag in flags):
            raise Refused("appUser", f"ExecStart= of {name} has a prefix for more than {expected}")
