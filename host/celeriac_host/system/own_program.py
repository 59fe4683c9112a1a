"""The modules that this agent consists of; the loader puts them here."""

from __future__ import annotations

from typing import Callable


class _Own:
    sources: Callable[[], dict[str, str]] = dict
    packed: Callable[[], bytes] = bytes
    build = ""


_own = _Own()


def put(
    sources: Callable[[], dict[str, str]],
    packed: Callable[[], bytes] = bytes,
    build: str = "",
) -> None:
    _own.sources, _own.packed, _own.build = sources, packed, build


def sources() -> dict[str, str]:
    """Module path → source."""
    return _own.sources()


def source(module: str) -> str:
    """The text of one module, wherever it was imported from."""
    # It takes longer to import than most of ours, and few need it.
    from importlib.util import find_spec

    spec = find_spec(module)
    found = spec.loader.get_source(spec.name) if spec and spec.loader else None  # type: ignore[attr-defined]
    assert isinstance(found, str)
    return found


def packed() -> bytes:
    """The same as one zlib-compressed JSON object."""
    found = _own.packed()
    if not found:
        import json
        import zlib

        found = zlib.compress(json.dumps(sources()).encode("utf-8"), 6)
        _own.packed = lambda: found
    return found


def build() -> str:
    """Which version of the agent this is: 64 hexadecimal digits."""
    if not _own.build:
        import hashlib

        _own.build = hashlib.sha256(packed()).hexdigest()
    return _own.build
