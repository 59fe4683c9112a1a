"""Reads a commit object, as the app's user, from its checkout or from the bundle of this plan."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, Iterator, Mapping

from celeriac_host.code import git, parcels
from celeriac_host.policy import signatures
from celeriac_host.policy.refusal import Refused
from celeriac_host.store import copies
from celeriac_host.system import files
from celeriac_host.system.errors import OperationError
from celeriac_host.system.following import follow
from celeriac_host.system.identities import Identity, identity

if TYPE_CHECKING:
    from celeriac_host.policy.scene import Scene

READ_SECONDS = 60.0
UNPACK_SECONDS = 1800.0
HEADER_LIMIT_BYTES = 1024 * 1024


def judge(operation: Mapping[str, Any], scene: Scene) -> None:
    """Raises Refused unless one of the signers has signed the operation's commit."""
    signers = scene.policy.signers
    if signers is None:
        return
    commit = operation["commit"]
    if "checkout" not in operation:
        # An archive has files and no commit object.
        raise Refused(
            signatures.RULE, "uploaded code has no signature; with signers, deploy with source: git"
        )
    if commit not in scene.signed:
        content = _read(commit, operation["checkout"], scene)
        scene.signed[commit] = signatures.require(commit, content, signers, scene.host)


def _read(commit: str, checkout: str, scene: Scene) -> bytes:
    whom = identity(scene.policy.app_user)
    sent = [
        each["sha256"]
        for each in scene.operations
        if each.get("op") == "fetch-commit" and each.get("commit") == commit
    ]
    try:
        found = _content(commit, checkout, whom, {}, scene)
        if found is None and sent:
            with _unpacked(sent[0], checkout, whom, scene) as env:
                found = _content(commit, checkout, whom, env, scene)
    except (OperationError, OSError) as error:
        raise Refused(signatures.RULE, f"commit {commit[:7]} cannot be read: {error}") from None
    if found is None:
        raise Refused(signatures.RULE, f"commit {commit[:7]} is neither here nor uploaded")
    return found


def _content(
    commit: str, checkout: str, whom: Identity, env: Mapping[str, str], scene: Scene
) -> bytes | None:
    """The bytes of the object; None if it is not there. Its hash is checked by the caller."""
    lines: list[bytes] = []
    size = 0

    def take(line: bytes) -> None:
        nonlocal size
        size += len(line) + 1
        if size > signatures.COMMIT_LIMIT_BYTES:
            raise OperationError(f"it has more than {signatures.COMMIT_LIMIT_BYTES} bytes")
        lines.append(line)

    ended = follow(
        scene.host,
        _git("cat-file", "commit", commit),
        take,
        timeout=READ_SECONDS,
        whom=whom,
        cwd=checkout,
        env={**git.ENVIRONMENT, **env},
    )
    if ended.code != 0:
        return None
    whole = b"\n".join(lines)
    # `follow` does not tell whether the last line has an end.
    ends = (whole, whole + b"\n")
    return next((each for each in ends if signatures.object_id(commit, each) == commit), whole)


@contextmanager
def _unpacked(digest: str, checkout: str, whom: Identity, scene: Scene) -> Iterator[dict[str, str]]:
    """The environment in which Git also finds the objects of an upload, for a moment.

    The folder above is root's, so that the app's user cannot move what it may write.
    """
    host = scene.host
    with parcels.open_whole(digest, host) as bundle:
        size = os.fstat(bundle.fileno()).st_size
        folder = tempfile.mkdtemp(
            prefix=f"celeriac-{os.getpid()}-", dir=copies.roomy_folder(2 * size)
        )
        try:
            os.chmod(folder, 0o711)
            objects = os.path.join(folder, "objects")
            for path in (objects, os.path.join(objects, "pack")):
                os.mkdir(path, 0o700)
                os.chown(path, whom.uid, whom.gid, follow_symlinks=False)
            where = host.run(
                _git("rev-parse", "--git-path", "objects"),
                user=whom,
                cwd=checkout,
                env=git.ENVIRONMENT,
            ).out.strip()
            env = {
                "GIT_OBJECT_DIRECTORY": objects,
                "GIT_ALTERNATE_OBJECT_DIRECTORIES": os.path.join(checkout, where),
            }
            _skip_header(bundle)
            host.run(
                _git("index-pack", "--stdin", "--fix-thin"),
                timeout=UNPACK_SECONDS,
                user=whom,
                cwd=checkout,
                env={**git.ENVIRONMENT, **env},
                stdin=bundle,
            )
            yield env
        finally:
            files.remove_tree(folder)


def _skip_header(bundle: BinaryIO) -> None:
    head = bundle.read(HEADER_LIMIT_BYTES)
    end = head.find(b"\n\n")
    if end < 0:
        raise OperationError("the upload is not a Git bundle")
    bundle.seek(end + 2)


def _git(*words: str) -> list[str]:
    return ["git", *(part for each in git.SETTINGS for part in ("-c", each)), *words]
