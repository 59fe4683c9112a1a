"""Reads /etc/celeriac/policy.json. Its shape is that of src/config/policy.ts.

A file that is not root's alone, or not valid as a whole, allows nothing.
"""

from __future__ import annotations

import json
import re
from typing import Any, Callable, Mapping, NamedTuple, Sequence

from celeriac_host.policy import trusted
from celeriac_host.policy.refusal import POLICY_PATH
from celeriac_host.store import postgres_url
from celeriac_host.system.errors import OperationError

LIMIT_BYTES = 256 * 1024
TEXT_LIMIT = 4096
LIST_LIMIT = 100
PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[^/\x00-\x1f\x7f-\x9f]+)+")
UNIT = re.compile(r"[A-Za-z0-9:_.\\-]+(?:@[A-Za-z0-9:_.\\-]+)?\.service")
ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,199}")
SETTING = re.compile(r"[a-z0-9_]+(?:\.[a-z0-9_-]+)+")
URL = re.compile(r"https?://[^\s/?#@\\]+/[^\s?#\\]*")
POSTGRES = re.compile(r"postgres(?:ql)?://(?:[^/?#:@\s]*@)?[^/?#@\s]*/[^/?#\s]+(?:\?[^?#@\s]*)?")
SIGNER = re.compile(r'[^\s"*?!,]{1,200}')
SSH_KEY = re.compile(
    r"(?:ssh-ed25519|ecdsa-sha2-nistp(?:256|384|521)|ssh-rsa) [A-Za-z0-9+/]+={0,2}"
)


class Swap(NamedTuple):
    path: str
    largest_bytes: int


class Signer(NamedTuple):
    name: str
    key: str


class Signers(NamedTuple):
    """Either may be empty, but not both."""

    ssh: Sequence[Signer]
    gpg_keyring: str


class Limits(NamedTuple):
    bytes: int = 512 * 1024 * 1024
    seconds: int = 4 * 3600
    requests: int = 5000
    operations: int = 200
    changes_per_hour: int = 120


class Policy(NamedTuple):
    """What may be asked for. The defaults allow nothing."""

    access: str
    units: Sequence[str]
    app_user: str
    readers: Sequence[str] = ()
    companions: Sequence[str] = ()
    databases: Sequence[str] = ()
    checkout: str = ""
    deploy_to: str = ""
    swap: Swap | None = None
    sysctl: Mapping[str, tuple[int, int]] = {}
    urls: Sequence[str] = ()
    tasks: Sequence[str] = ()
    commands: Sequence[Sequence[str]] = ()
    writable_paths: Sequence[str] = ()
    signers: Signers | None = None
    limits: Limits = Limits()


class Unusable(Exception):
    """The policy cannot be used; the message says why, for people."""


def load(path: str = POLICY_PATH) -> Policy:
    """Raises Unusable."""
    try:
        content = trusted.read(path, LIMIT_BYTES)
    except trusted.Untrusted as error:
        raise Unusable(str(error)) from None
    try:
        return parse(content)
    except Unusable as error:
        raise Unusable(f"{path} is not valid: {error}") from None


def parse(content: bytes) -> Policy:
    """Raises Unusable, with the key and what was expected."""
    try:
        found = json.loads(content.decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise Unusable(f"not JSON: {error}") from None
    whole = _Reader(found, "the policy")
    whole.text("$schema", re.compile(r".*"), optional=True)
    version = whole.take("version")
    if version != 1 or isinstance(version, bool):
        told = f", found {version}" if isinstance(version, int) else ""
        raise Unusable(f"version: expected 1{told}")
    access = whole.take("access")
    if access not in ("change", "read"):
        raise Unusable("access: expected change or read")
    units = whole.texts("units", UNIT)
    if not units:
        raise Unusable("units: expected at least one unit")
    app_user = whole.text("appUser", ACCOUNT)
    if app_user in ("", "root"):
        raise Unusable("appUser: expected a user other than root")
    policy = Policy(
        access=str(access),
        units=units,
        app_user=app_user,
        readers=whole.texts("readers", ACCOUNT),
        companions=whole.texts("companions", UNIT),
        databases=whole.listed("databases", _database),
        checkout=whole.text("checkout", PATH, optional=True),
        deploy_to=whole.text("deployTo", PATH, optional=True),
        swap=_swap(whole.take("swap")),
        sysctl=_sysctl(whole.take("sysctl")),
        urls=whole.texts("urls", URL),
        tasks=whole.texts("tasks", NAME),
        commands=whole.listed("commands", _command),
        writable_paths=whole.texts("writablePaths", PATH),
        signers=_signers(whole.take("signers")),
        limits=_limits(whole.take("limits")),
    )
    whole.end()
    return policy


class _Reader:
    """Takes the keys of an object one by one; what is left at the end is unknown."""

    def __init__(self, found: Any, name: str) -> None:
        if not isinstance(found, dict):
            raise Unusable(f"{name}: expected an object")
        self.at = found
        self.name = name
        self.taken: set[str] = set()

    def take(self, key: str) -> Any:
        self.taken.add(key)
        return self.at.get(key)

    def text(self, key: str, pattern: re.Pattern[str], optional: bool = False) -> str:
        value = self.take(key)
        if optional and value is None:
            return ""
        return _text(value, pattern, key)

    def texts(self, key: str, pattern: re.Pattern[str]) -> tuple[str, ...]:
        return self.listed(key, lambda each: _text(each, pattern, key))

    def listed(self, key: str, read: Callable[[Any], Any]) -> tuple[Any, ...]:
        value = self.take(key)
        if value is None and key not in self.at:
            return ()
        if not isinstance(value, list) or len(value) > LIST_LIMIT:
            raise Unusable(f"{key}: expected a list of at most {LIST_LIMIT}")
        return tuple(read(each) for each in value)

    def whole(self, key: str, least: int, most: int, fallback: int | None = None) -> int:
        value = self.take(key)
        if fallback is not None and key not in self.at:
            return fallback
        if type(value) is not int or not least <= value <= most:
            raise Unusable(f"{key}: expected a whole number from {least} to {most}")
        return value

    def end(self) -> None:
        unknown = sorted(set(self.at) - self.taken)
        if unknown:
            raise Unusable(f"{self.name}: unknown key {unknown[0]!r}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice in one object")
    return found


def _text(value: Any, pattern: re.Pattern[str], key: str) -> str:
    if not isinstance(value, str) or len(value) > TEXT_LIMIT or not pattern.fullmatch(value):
        raise Unusable(f"{key}: invalid value")
    return value


def _database(value: Any) -> str:
    if isinstance(value, str) and value.startswith("/"):
        return _text(value, PATH, "databases")
    url = _text(value, POSTGRES, "databases")
    try:
        postgres_url.checked(url)
    except OperationError:
        raise Unusable("databases: invalid value") from None
    return url


def _command(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not 0 < len(value) <= LIST_LIMIT:
        raise Unusable("commands: expected lists of words")
    return tuple(_text(each, re.compile(r".+", re.DOTALL), "commands") for each in value)


def _swap(value: Any) -> Swap | None:
    if value is None:
        return None
    reader = _Reader(value, "swap")
    swap = Swap(reader.text("path", PATH), reader.whole("largestBytes", 1, 2**44))
    reader.end()
    return swap


def _sysctl(value: Any) -> dict[str, tuple[int, int]]:
    if value is None:
        return {}
    found: dict[str, tuple[int, int]] = {}
    for name, bounds in _Reader(value, "sysctl").at.items():
        _text(name, SETTING, "sysctl")
        is_pair = isinstance(bounds, list) and [type(each) for each in bounds] == [int, int]
        if not is_pair or bounds[0] > bounds[1]:
            raise Unusable(f"sysctl {name}: expected its smallest and its largest value")
        found[name] = (bounds[0], bounds[1])
    return found


def _signers(value: Any) -> Signers | None:
    if value is None:
        return None
    reader = _Reader(value, "signers")
    signers = Signers(reader.listed("ssh", _signer), reader.text("gpgKeyring", PATH, optional=True))
    reader.end()
    if not signers.ssh and not signers.gpg_keyring:
        raise Unusable("signers: expected an SSH key or a GPG keyring; leave it out for none")
    return signers


def _signer(value: Any) -> Signer:
    reader = _Reader(value, "signers")
    signer = Signer(reader.text("name", SIGNER), reader.text("key", SSH_KEY))
    reader.end()
    return signer


def _limits(value: Any) -> Limits:
    if value is None:
        return Limits()
    reader, standard = _Reader(value, "limits"), Limits()
    limits = Limits(
        bytes=reader.whole("bytes", 1, 2**40, standard.bytes),
        seconds=reader.whole("seconds", 1, 7 * 86_400, standard.seconds),
        requests=reader.whole("requests", 1, 1_000_000, standard.requests),
        operations=reader.whole("operations", 1, 10_000, standard.operations),
        changes_per_hour=reader.whole("changesPerHour", 1, 100_000, standard.changes_per_hour),
    )
    reader.end()
    return limits


def is_path(value: Any) -> bool:
    """Whether it is an absolute path in its shortest spelling."""
    return isinstance(value, str) and len(value) <= TEXT_LIMIT and bool(PATH.fullmatch(value))
