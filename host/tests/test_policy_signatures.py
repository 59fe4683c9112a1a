"""Commits that a key of the policy has signed, with real keys, real Git and real verifiers."""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import Any, Dict, Iterator

import pytest
from celeriac_host.policy import operations, requests, signatures
from celeriac_host.policy.refusal import Refused
from celeriac_host.policy.signatures import Signed
from policies import USER, Hardened

ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.com",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.com",
}


class Clone:
    """A developer's clone, with keys."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "clone"
        self.keys = folder / "keys"
        self.keys.mkdir()
        self.folder.mkdir()
        self.git("init", "-q", "-b", "main")
        self.git("commit", "-q", "--allow-empty", "-m", "first")
        self.first = self.git("rev-parse", "HEAD")

    def git(self, *words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=self.folder, env=ENVIRONMENT, check=True, capture_output=True
        )
        return done.stdout.decode("utf-8", "replace").strip()

    def key(self, name: str) -> str:
        path = str(self.keys / name)
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path]
        subprocess.run(argv, check=True)
        return (self.keys / f"{name}.pub").read_text().strip()

    def commit(self, *words: str, key: str = "", text: str = "x") -> str:
        signing = ["-c", "gpg.format=ssh", "-c", f"user.signingkey={self.keys / key}"]
        (self.folder / "file").write_text(text)
        self.git("add", "file")
        self.git(*(signing if key else []), "commit", "-q", *(["-S"] if key else []), *words)
        return self.git("rev-parse", "HEAD")

    def content(self, commit: str) -> bytes:
        argv = ["git", "cat-file", "commit", commit]
        return subprocess.run(argv, cwd=self.folder, check=True, capture_output=True).stdout


@pytest.fixture
def clone(hardened: Hardened) -> Clone:
    return Clone(hardened.root)


@pytest.fixture
def at(hardened: Hardened, clone: Clone) -> Iterator[Hardened]:
    """The app's checkout is at the first commit."""
    shutil.rmtree(hardened.app)
    clone.git("clone", "-q", "--no-local", str(clone.folder), hardened.app)
    entry = pwd.getpwnam(USER)
    for path, folders, files in os.walk(hardened.app):
        for name in (".", *folders, *files):
            os.chown(os.path.join(path, name), entry.pw_uid, entry.pw_gid, follow_symlinks=False)
    yield hardened


def signers(**keys: str) -> Dict[str, Any]:
    return {"ssh": [{"name": name, "key": key} for name, key in keys.items()]}


def send(clone: Clone, at: Hardened, commit: str) -> str:
    """Uploads a bundle, as an action does; returns its digest."""
    path = clone.folder.parent / "code.bundle"
    clone.git("branch", "-f", "sent", commit)
    clone.git("bundle", "create", "-q", str(path), f"{clone.first}..sent")
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    incoming = Path(at.host.state) / "incoming"
    incoming.mkdir(exist_ok=True)
    (incoming / digest).write_bytes(content)
    return digest


def plan(at: Hardened, commit: str, digest: str, first: str) -> Dict[str, Any]:
    about = {"title": "a", "why": "b", "checkout": at.app, "commit": commit}
    return {
        "ask": "apply",
        "operations": [
            {"op": "fetch-commit", **about, "sha256": digest},
            {"op": "checkout-code", **about, "expects": first, "stash": False},
        ],
        "meta": {"action": "a", "holder": "b", "sha": commit, "lockTimeoutSeconds": 1},
    }


def refusal(message: Any, at: Hardened, **policy: Any) -> str:
    with pytest.raises(Refused) as caught:
        requests.judge(message, at.scene(**policy))
    return str(caught.value)


def test_a_signed_commit_of_an_upload_is_allowed(clone: Clone, at: Hardened) -> None:
    allowed = signers(alice=clone.key("alice"))
    commit = clone.commit("-m", "second", key="alice")
    scene = at.scene(signers=allowed)
    requests.judge(plan(at, commit, send(clone, at, commit), clone.first), scene)
    assert scene.signed == {commit: "alice"}
    # Nothing came into the checkout, and nothing stays.
    argv = ["git", "-c", "safe.directory=*", "cat-file", "-e", commit]
    assert subprocess.run(argv, cwd=at.app, capture_output=True).returncode != 0


def test_an_unsigned_commit_is_refused(clone: Clone, at: Hardened) -> None:
    allowed = signers(alice=clone.key("alice"))
    commit = clone.commit("-m", "second")
    message = plan(at, commit, send(clone, at, commit), clone.first)
    assert f"signers: commit {commit[:7]} is not signed" in refusal(message, at, signers=allowed)
    requests.judge(message, at.scene())


def test_a_commit_that_somebody_else_signed_is_refused(clone: Clone, at: Hardened) -> None:
    allowed = signers(alice=clone.key("alice"))
    clone.key("mallory")
    commit = clone.commit("-m", "second", key="mallory")
    message = plan(at, commit, send(clone, at, commit), clone.first)
    assert "is not signed by one of the keys of the policy" in refusal(message, at, signers=allowed)


def test_the_tip_counts_and_not_its_history(clone: Clone, at: Hardened) -> None:
    allowed = signers(alice=clone.key("alice"))
    clone.commit("-m", "signed", key="alice", text="1")
    commit = clone.commit("-m", "not signed", text="2")
    message = plan(at, commit, send(clone, at, commit), clone.first)
    assert "is not signed" in refusal(message, at, signers=allowed)


def test_a_commit_that_is_nowhere_is_refused(clone: Clone, at: Hardened) -> None:
    allowed = signers(alice=clone.key("alice"))
    operation = plan(at, "1" * 40, "0" * 64, clone.first)["operations"][1]
    with pytest.raises(Refused, match="is neither here nor uploaded"):
        operations.judge(operation, at.scene(signers=allowed))


def test_an_upload_without_git_has_no_signature(clone: Clone, at: Hardened) -> None:
    operation = {
        "op": "unpack-release",
        "title": "a",
        "why": "b",
        "deployTo": at.policy["deployTo"],
        "commit": clone.first,
        "sha256": "0" * 64,
        "shared": [],
    }
    operations.judge(operation, at.scene())
    with pytest.raises(Refused, match="signers: uploaded code has no signature"):
        operations.judge(operation, at.scene(signers=signers(alice=clone.key("alice"))))


def test_bytes_of_another_object_do_not_pass(clone: Clone, at: Hardened) -> None:
    """Neither with a changed tree, nor with the signature of another commit."""
    allowed = at.scene(signers=signers(alice=clone.key("alice"))).policy.signers
    assert allowed is not None
    commit = clone.commit("-m", "second", key="alice")
    content = clone.content(commit)
    assert signatures.require(commit, content, allowed, at.host) == "alice"
    changed = content.replace(b"\n\nsecond", b"\n\nevil!!")
    with pytest.raises(Refused, match="another object"):
        signatures.require(commit, changed, allowed, at.host)
    own = signatures.object_id(commit, changed)
    with pytest.raises(Refused, match="is not signed by one of the keys"):
        signatures.require(own, changed, allowed, at.host)


def test_a_signature_for_another_purpose_does_not_count(clone: Clone, at: Hardened) -> None:
    """As of a file, which somebody may be talked into signing."""
    allowed = at.scene(signers=signers(alice=clone.key("alice"))).policy.signers
    assert allowed is not None
    content = clone.content(clone.first)
    argv = ["ssh-keygen", "-q", "-Y", "sign", "-n", "file", "-f", str(clone.keys / "alice")]
    done = subprocess.run(argv, input=content, check=True, capture_output=True)
    signature = b"gpgsig " + done.stdout.rstrip(b"\n").replace(b"\n", b"\n ") + b"\n"
    head, blank, message = content.partition(b"\n\n")
    signed = head + b"\n" + signature + b"\n" + message
    commit = signatures.object_id("0" * 40, signed)
    with pytest.raises(Refused, match="is not signed by one of the keys"):
        signatures.require(commit, signed, allowed, at.host)
    assert blank


def test_a_message_that_is_not_utf8_is_signed_as_it_is(clone: Clone, at: Hardened) -> None:
    allowed = at.scene(signers=signers(alice=clone.key("alice"))).policy.signers
    assert allowed is not None
    (clone.folder.parent / "message").write_bytes(b"gr\xfcn\n\nno end")
    commit = clone.commit(
        "--cleanup=verbatim", "-F", str(clone.folder.parent / "message"), key="alice"
    )
    assert signatures.require(commit, clone.content(commit), allowed, at.host) == "alice"
    digest = send(clone, at, commit)
    requests.judge(
        plan(at, commit, digest, clone.first),
        at.scene(signers=signers(alice=(clone.keys / "alice.pub").read_text().strip())),
    )


@pytest.fixture
def gpg(clone: Clone) -> Iterator[Dict[str, str]]:
    """The environment of a GPG home with two keys: alice@example.com and mallory@example.com."""
    home = clone.folder.parent / "gnupg"
    home.mkdir(0o700)
    environment = {**ENVIRONMENT, "GNUPGHOME": str(home)}
    for name in ("alice", "mallory"):
        argv = ["gpg", "--batch", "--quiet", "--passphrase", "", "--quick-generate-key"]
        more = [f"{name}@example.com", "ed25519", "sign", "never"]
        subprocess.run([*argv, *more], env=environment, check=True, capture_output=True)
    yield environment
    subprocess.run(["gpgconf", "--kill", "gpg-agent"], env=environment, check=True)


def test_a_commit_that_is_signed_with_gpg_is_allowed(
    clone: Clone, at: Hardened, gpg: Dict[str, str]
) -> None:
    keyring = str(clone.folder.parent / "keyring.gpg")
    argv = ["gpg", "--batch", "--output", keyring, "--export", "alice@example.com"]
    subprocess.run(argv, env=gpg, check=True)
    allowed = at.scene(signers={"gpgKeyring": keyring}).policy.signers
    assert allowed is not None

    def commit(name: str) -> str:
        argv = ["git", "commit", "-q", "--allow-empty", f"-S{name}@example.com", "-m", name]
        subprocess.run(argv, cwd=clone.folder, env=gpg, check=True)
        return clone.git("rev-parse", "HEAD")

    good, bad = commit("alice"), commit("mallory")
    assert len(signatures.require(good, clone.content(good), allowed, at.host)) == 40
    with pytest.raises(Refused, match="is not signed by one of the keys"):
        signatures.require(bad, clone.content(bad), allowed, at.host)
    os.chown(keyring, 1, 1)
    with pytest.raises(Refused, match="belongs to user 1"):
        signatures.require(good, clone.content(good), allowed, at.host)


def test_a_signature_is_split_from_what_was_signed() -> None:
    content = (
        b"tree 1\nparent 2\ngpgsig -----BEGIN SSH SIGNATURE-----\n AAAA\n \n -----END\n"
        b"gpgsig-sha256 other\n more\nencoding x\n\nmessage\ngpgsig no header\n"
    )
    assert signatures.split(content, b"gpgsig") == Signed(
        b"tree 1\nparent 2\nencoding x\n\nmessage\ngpgsig no header\n",
        b"-----BEGIN SSH SIGNATURE-----\nAAAA\n\n-----END\n",
    )
    assert signatures.split(b"tree 1\n\ngpgsig x\n", b"gpgsig") is None
