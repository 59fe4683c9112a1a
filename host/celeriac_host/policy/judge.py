"""Judges the requests of one session by the policy of this host: refused, unless it allows them."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import Any, Mapping

from celeriac_host.policy import budget, document, facts, requests, told
from celeriac_host.policy.document import Policy, Unusable
from celeriac_host.policy.refusal import POLICY_PATH, Refused, shown
from celeriac_host.policy.scene import Scene
from celeriac_host.system.errors import Fault, describe
from celeriac_host.system.system import System

NOTHING_CHANGED = "nothing was changed; the owner of the server can change the policy"
RENEW = (
    "nothing was changed; the owner of the server installs the agent of this version of Celeriac, "
    "which is not possible over this key"
)
SIGN = (
    "nothing was changed; sign the commit itself (`git commit -S`) with a key that the policy "
    "names, or have the owner of the server add the key to the policy"
)
NEXT_STEPS = {"protocol": RENEW, "signers": SIGN}
LONGEST_NUMBER = 25


class Judge:
    """`asker`: the user who started the session, as sudo says."""

    def __init__(
        self,
        host: System,
        sources: Mapping[str, str],
        asker: str,
        protocol: int,
        path: str = POLICY_PATH,
    ) -> None:
        self.host = host
        self.sources = sources
        self.asker = asker
        self.protocol = protocol
        self.path = path
        self.asked = 0
        self.received_bytes = 0
        self.scene: Scene | None = None

    def policy(self) -> Policy:
        """Read anew for each request. Raises Unusable."""
        return document.load(self.path)

    def access(self) -> str:
        """`change`, `read`, or `none` without a policy."""
        try:
            return self._access(self.policy())
        except Unusable:
            return "none"

    def longest_session(self) -> int:
        try:
            return self.policy().limits.seconds
        except Unusable:
            return 60

    def parse(self, line: bytes) -> dict[str, Any]:
        """Raises Fault."""
        self.received_bytes += len(line)
        try:
            message = json.loads(
                line.decode("utf-8"),
                parse_int=_whole,
                parse_constant=_no_constant,
                object_pairs_hook=_once,
            )
        except RecursionError:
            raise self._fault("shape", "the message has too many levels") from None
        except ValueError as error:
            raise self._fault("shape", f"the message is not JSON: {shown(str(error))}") from None
        if not isinstance(message, dict):
            raise self._fault("shape", "the message is not an object")
        # It comes back with the answer.
        if type(message.get("id", 0)) is not int:
            raise self._fault("shape", "the id of the message is not a number")
        return message

    def judge(self, message: dict[str, Any]) -> dict[str, Any]:
        """The request as it is carried out. Logs it first. Raises Fault."""
        self.asked += 1
        what = told.summary(message)
        try:
            told.write(f"{self._who()} asks: {what}")
            return self._judge(message)
        except told.Unwritten as error:
            raise self._fault("log", str(error)) from None
        except Unusable as error:
            self._tell_refused(what, str(error))
            raise Fault(f"refused: {error}", next=NOTHING_CHANGED) from None
        except Refused as refused:
            self._tell_refused(what, str(refused))
            next_step = NEXT_STEPS.get(refused.rule, NOTHING_CHANGED)
            raise self._fault(refused.rule, refused.problem, next_step) from None
        except Exception as error:
            # A rule that fails on a message has not allowed it.
            self._tell_refused(what, describe(error))
            raise self._fault("shape", f"it cannot be judged: {describe(error)}") from None

    def answered(self, message: Mapping[str, Any], answer: Any) -> Any:
        """The answer without what is none of these units' business."""
        if message.get("ask") == "look" and self.scene is not None:
            return facts.told(answer, self.scene)
        return answer

    def _judge(self, message: dict[str, Any]) -> dict[str, Any]:
        policy = self.policy()
        scene = Scene(policy, self.host, self.sources, self._access(policy))
        self.scene = scene
        if message.get("protocol") != self.protocol or type(message["protocol"]) is not int:
            raise Refused(
                "protocol",
                f"the request has protocol {shown(message.get('protocol'))}, the agent on this "
                f"host has {self.protocol}",
            )
        if self.asked > policy.limits.requests:
            raise Refused("limits", f"a session has at most {policy.limits.requests} requests")
        # Base64, and room for everything else.
        if self.received_bytes > 2 * policy.limits.bytes + 64 * 1024 * 1024:
            raise Refused("limits", "this session has sent too many bytes")
        requests.judge(message, scene)
        found = requests.narrowed(message, scene)
        if message["ask"] in requests.COUNTED:
            budget.spend(policy.limits.changes_per_hour, self.asker)
        return found

    def _access(self, policy: Policy) -> str:
        # Without a name for the asker, a policy that tells readers apart trusts nobody.
        is_reader = self.asker in policy.readers or (bool(policy.readers) and not self.asker)
        return "read" if is_reader else policy.access

    def _who(self) -> str:
        return f"{shown(self.asker) or 'root'}, session {os.getpid()},"

    def _tell_refused(self, what: str, why: str) -> None:
        # It is refused, whether that is on record or not.
        with suppress(told.Unwritten):
            told.write(f"{self._who()} is refused: {why[:600]} (asked: {what})", told.WARNING)

    def _fault(self, rule: str, problem: str, next_step: str = NOTHING_CHANGED) -> Fault:
        return Fault(f"refused by {self.path}: {rule}: {problem}", next=next_step)


def _whole(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise ValueError("a number is too long")
    return int(text)


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not a number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice in one object")
    return found
