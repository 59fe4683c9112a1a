"""Uploads are stored completely, by their digest, and for a short time."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Callable, Dict

import pytest
from celeriac_host.code import parcels
from celeriac_host.session import incoming
from celeriac_host.system import files
from celeriac_host.system.errors import Fault, OperationError
from conftest import fill
from cuts import cuts
from hosts import Host

CONTENT = os.urandom(300_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
PIECE = 100_000


def step(host: Host, what: str, digest: str = DIGEST, **more: Any) -> Dict[str, Any]:
    return incoming.receive({"step": what, "sha256": digest, **more}, host)


def piece(host: Host, offset: int, content: bytes = CONTENT) -> Dict[str, Any]:
    data = base64.b64encode(content[offset : offset + PIECE]).decode()
    return step(host, "piece", offset=offset, data=data)


def send(host: Host, content: bytes = CONTENT) -> None:
    digest = hashlib.sha256(content).hexdigest()
    if step(host, "begin", digest, sizeBytes=len(content))["whole"]:
        return
    for offset in range(0, len(content), PIECE):
        data = base64.b64encode(content[offset : offset + PIECE]).decode()
        step(host, "piece", digest, offset=offset, data=data)
    step(host, "end", digest)


def there(host: Host) -> list[str]:
    return sorted(os.listdir(os.path.join(host.state, "incoming")))


def test_an_upload_is_complete_and_private(host: Host) -> None:
    assert step(host, "begin", sizeBytes=len(CONTENT)) == {"sizeBytes": 0, "whole": False}
    assert piece(host, 0) == {"sizeBytes": PIECE, "whole": False}
    piece(host, PIECE)
    piece(host, 2 * PIECE)
    assert step(host, "end") == {"sizeBytes": len(CONTENT), "whole": True}
    assert there(host) == [DIGEST]
    with parcels.open_whole(DIGEST, host) as file:
        assert file.read() == CONTENT
        assert os.fstat(file.fileno()).st_mode & 0o777 == 0o600
    assert os.stat(os.path.join(host.state, "incoming")).st_mode & 0o777 == 0o700


def test_an_existing_upload_is_not_sent_again(host: Host) -> None:
    send(host)
    assert step(host, "begin", sizeBytes=len(CONTENT)) == {
        "sizeBytes": len(CONTENT),
        "whole": True,
    }


def test_a_damaged_upload_is_sent_again(host: Host) -> None:
    send(host)
    path = Path(host.state, "incoming", DIGEST)
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(OperationError) as refused:
        parcels.open_whole(DIGEST, host)
    assert str(path) in refused.value.message
    send(host)
    with parcels.open_whole(DIGEST, host) as file:
        assert file.read() == CONTENT


@pytest.mark.parametrize("offset", [0, PIECE - 1, PIECE + 1, 2 * PIECE])
def test_a_repeated_or_early_piece_is_refused(host: Host, offset: int) -> None:
    step(host, "begin", sizeBytes=len(CONTENT))
    piece(host, 0)
    with pytest.raises(Fault):
        piece(host, offset)
    # The right piece is still accepted.
    assert piece(host, PIECE)["sizeBytes"] == 2 * PIECE


def test_an_incomplete_upload_is_dropped(host: Host) -> None:
    step(host, "begin", sizeBytes=len(CONTENT))
    piece(host, 0)
    with pytest.raises(Fault) as refused:
        step(host, "end")
    assert refused.value.next
    assert there(host) == []
    with pytest.raises(Fault):
        piece(host, PIECE)
    with pytest.raises(OperationError):
        parcels.open_whole(DIGEST, host)


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", DIGEST.upper(), DIGEST + "\n", None])
def test_only_a_digest_names_an_upload(host: Host, digest: Any) -> None:
    with pytest.raises(Fault):
        step(host, "begin", digest, sizeBytes=1)
    if isinstance(digest, str):
        with pytest.raises(OperationError):
            parcels.open_whole(digest, host)
    assert not os.path.exists(os.path.join(host.state, "incoming"))


def test_an_unknown_step_is_a_fault(host: Host) -> None:
    with pytest.raises(Fault):
        step(host, "middle")


@pytest.mark.parametrize("size", [0, -1, incoming.LIMIT_BYTES + 1])
def test_an_invalid_size_is_refused_first(host: Host, size: int) -> None:
    with pytest.raises(Fault):
        step(host, "begin", sizeBytes=size)
    assert not os.path.exists(os.path.join(host.state, "incoming"))


def test_a_link_at_its_path_is_not_followed(host: Host, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    send(host)
    folder = Path(host.state, "incoming")
    (folder / DIGEST).unlink()
    (folder / DIGEST).symlink_to(victim)
    (folder / f"{DIGEST}.{os.getpid()}.part").symlink_to(victim)
    send(host)
    assert victim.read_text() == "precious"
    assert not (folder / DIGEST).is_symlink()


def test_a_folder_of_another_user_is_refused(root: None, host: Host) -> None:
    folder = Path(host.state, "incoming")
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    with pytest.raises(Fault):
        send(host)


def test_without_disk_space_nothing_is_started_or_left(
    make_disk: Callable[[int], Path],
) -> None:
    small = Host(str(make_disk(files.MARGIN_BYTES // 1024)))
    with pytest.raises(Fault) as refused:
        step(small, "begin", sizeBytes=len(CONTENT))
    assert "MiB" in refused.value.message
    assert there(small) == []
    disk = make_disk(files.MARGIN_BYTES // 1024 + 2048)
    host = Host(str(disk))
    step(host, "begin", sizeBytes=len(CONTENT))
    # Another process used the space meanwhile.
    fill(disk)
    with pytest.raises(Fault) as refused:
        piece(host, 0)
    assert refused.value.next
    assert there(host) == []


def test_an_upload_that_is_longer_than_announced_does_not_fill_the_disk(
    make_disk: Callable[[int], Path],
) -> None:
    disk = make_disk((files.MARGIN_BYTES + 8 * 2**20) // 1024)
    host = Host(str(disk))
    step(host, "begin", sizeBytes=1)
    data = base64.b64encode(bytes(2**20)).decode()
    with pytest.raises(Fault, match="No space left"):
        for number in range(2 * files.MARGIN_BYTES // 2**20):
            step(host, "piece", offset=number * 2**20, data=data)
            assert shutil.disk_usage(disk).free >= files.MARGIN_BYTES
    assert there(host) == []


def test_the_newest_few_and_uploads_in_progress_stay(host: Host) -> None:
    contents = [bytes([number]) * 10 for number in range(5)]
    for number, content in enumerate(contents):
        send(host, content)
        digest = hashlib.sha256(content).hexdigest()
        os.utime(os.path.join(host.state, "incoming", digest), (number, number))
    folder = Path(host.state, "incoming")
    with subprocess.Popen(["true"]) as dead:
        pass
    now, old = time.time(), time.time() - incoming.STALE_SECONDS - 60
    parts = {f"{DIGEST}.{os.getppid()}.part": now, f"{DIGEST}.{dead.pid}.part": now}
    parts[f"{'0' * 64}.{os.getppid()}.part"] = old
    parts["notes"] = now
    for name, modified in parts.items():
        (folder / name).touch()
        os.utime(folder / name, (modified, modified))
    step(host, "begin", sizeBytes=len(CONTENT))
    newest = [hashlib.sha256(content).hexdigest() for content in contents[-incoming.KEEP :]]
    ours = f"{DIGEST}.{os.getpid()}.part"
    # A file that somebody else put there stays.
    assert there(host) == sorted([*newest, f"{DIGEST}.{os.getppid()}.part", ours, "notes"])


def test_an_interruption_leaves_a_complete_upload_or_none(host: Host) -> None:
    seen = set()
    content = CONTENT[:1000]
    digest = hashlib.sha256(content).hexdigest()
    for cut in cuts(host.state):
        shutil.rmtree(os.path.join(host.state, "incoming"), ignore_errors=True)
        cut(send, host, content)
        whole = os.path.exists(os.path.join(host.state, "incoming", digest))
        seen.add(whole)
        if whole:
            with parcels.open_whole(digest, host) as file:
                assert file.read() == content
        # The next run's agent.
        send(host, content)
        assert there(host) == [digest]
    assert seen == {True, False}
