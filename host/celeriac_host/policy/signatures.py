"""Whether a key of the policy has signed a commit.

Only the commit object is looked at: its hash names it, and its tree. Root runs no Git: whoever
reads the object, its bytes are hashed here.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from contextlib import contextmanager
from typing import Iterator, NamedTuple, Sequence

from celeriac_host.policy import trusted
from celeriac_host.policy.document import Signers
from celeriac_host.policy.refusal import Refused
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System

RULE = "signers"
COMMIT_LIMIT_BYTES = 1024 * 1024
KEYRING_LIMIT_BYTES = 16 * 1024 * 1024
TIMEOUT_SECONDS = 30.0
HEADERS = (b"gpgsig", b"gpgsig-sha256")
SSH_BEGIN = b"-----BEGIN SSH SIGNATURE-----"
PGP_BEGIN = b"-----BEGIN PGP SIGNATURE-----"


class Signed(NamedTuple):
    """What was signed, and the signature of it."""

    payload: bytes
    signature: bytes


def require(commit: str, content: bytes, signers: Signers, host: System) -> str:
    """Who has signed this commit. Raises Refused."""
    short = commit[:7]
    if object_id(commit, content) != commit:
        raise Refused(RULE, f"what was read as commit {short} is another object")
    signed = split(content, b"gpgsig" if len(commit) == 40 else b"gpgsig-sha256")
    if signed is None:
        raise Refused(RULE, f"commit {short} is not signed")
    try:
        if signed.signature.startswith(SSH_BEGIN):
            who = _by_ssh(signed, signers, host)
        elif signed.signature.startswith(PGP_BEGIN):
            who = _by_gpg(signed, signers, host)
        else:
            raise Refused(RULE, f"commit {short} has a signature of an unknown kind")
    except OperationError as error:
        raise Refused(RULE, f"commit {short}: {error.message}") from None
    if not who:
        raise Refused(RULE, f"commit {short} is not signed by one of the keys of the policy")
    return who


def object_id(commit: str, content: bytes) -> str:
    """The hash of a commit with this content, of the kind of `commit`."""
    hashed = hashlib.sha256() if len(commit) == 64 else hashlib.sha1()
    hashed.update(b"commit %d\0" % len(content))
    hashed.update(content)
    return hashed.hexdigest()


def split(content: bytes, header: bytes) -> Signed | None:
    """The commit without its signatures, and that of this header; None without one."""
    head, blank, message = content.partition(b"\n\n")
    kept: list[bytes] = []
    found: list[bytes] = []
    inside = b""
    for line in head.split(b"\n"):
        if not line.startswith(b" "):
            name = line.partition(b" ")[0]
            inside = name if name in HEADERS else b""
        if not inside:
            kept.append(line)
        elif inside == header:
            found.append(line[len(header) + 1 :] if not line.startswith(b" ") else line[1:])
    if not found:
        return None
    return Signed(b"\n".join(kept) + blank + message, b"\n".join(found) + b"\n")


def _by_ssh(signed: Signed, signers: Signers, host: System) -> str:
    # Git's namespace; a signature that was made for anything else does not count.
    allowed = "".join(f'{each.name} namespaces="git" {each.key}\n' for each in signers.ssh)
    with _files(allowed.encode("ascii"), signed.signature) as (names, signature):
        for name in dict.fromkeys(each.name for each in signers.ssh):
            argv = ["ssh-keygen", "-Y", "verify", "-f", names, "-I", name, "-n", "git"]
            done = host.run(
                [*argv, "-s", signature],
                timeout=TIMEOUT_SECONDS,
                input=signed.payload,
                check=False,
            )
            if done.code == 0:
                return name
    return ""


def _by_gpg(signed: Signed, signers: Signers, host: System) -> str:
    if not signers.gpg_keyring:
        return ""
    try:
        keyring = trusted.read(signers.gpg_keyring, KEYRING_LIMIT_BYTES)
    except trusted.Untrusted as error:
        raise Refused(RULE, str(error)) from None
    with _files(keyring, signed.signature) as (keys, signature):
        argv = ["gpgv", "--homedir", os.path.dirname(keys), "--status-fd", "1", "--keyring", keys]
        done = host.run(
            [*argv, signature, "-"], timeout=TIMEOUT_SECONDS, input=signed.payload, check=False
        )
    valid = re.search(r"^\[GNUPG:\] VALIDSIG ([0-9A-F]{40,64}) ", done.out, re.MULTILINE)
    # An expired or revoked key makes a signature that is valid, but not good.
    good = re.search(r"^\[GNUPG:\] GOODSIG ", done.out, re.MULTILINE)
    return valid.group(1) if done.code == 0 and valid and good else ""


@contextmanager
def _files(*contents: bytes) -> Iterator[Sequence[str]]:
    """Files for a verifier, in memory and for root alone."""
    with tempfile.TemporaryDirectory(prefix="celeriac-", dir="/run") as folder:
        paths = [os.path.join(folder, str(index)) for index in range(len(contents))]
        for path, content in zip(paths, contents):
            with open(path, "wb") as file:
                file.write(content)
        yield paths
