"""Makes the package importable from memory, then runs the agent or the detached process.

What executes this file sets `SOURCES`, module path → source, or `PACKED`, the same as a
zlib-compressed JSON object, or a function that returns it; optionally `BUILD`, which version that
is, and `COMPILED`, the code of each module, which may raise OSError. The copy of the agent on the
host's disk also sets `WORDS`, the arguments of `work.py` or of the sampler; the installed agent of
the hardened mode sets `HARDENED`.
"""

from __future__ import annotations

import gc
import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import Any, Callable, Mapping, Sequence

# Objects more than were freed; the default is 700.
FIRST_COLLECTION = 20_000
# Work that runs every minute, or must be small: it loads nothing of the transactions.
ALONE = {"sample": "celeriac_host.sampler.work", "tell": "celeriac_host.sampler.deliver"}


class Program:
    """Its sources are unpacked when they are first needed: with compiled modules, seldom."""

    def __init__(
        self,
        sources: dict[str, str] | None,
        packed: bytes | Callable[[], bytes],
        compiled: Mapping[str, bytes],
    ) -> None:
        self._sources = sources
        self._packed = packed
        self._compiled = compiled
        self.paths = compiled or self.sources()
        self.folders: set[str] = set()
        for path in self.paths:
            while "/" in path:
                path = path.rpartition("/")[0]
                self.folders.add(path)

    def packed(self) -> bytes:
        if not isinstance(self._packed, bytes):
            self._packed = self._packed()
        return self._packed

    def sources(self) -> dict[str, str]:
        if self._sources is None:
            import json
            import zlib

            self._sources = json.loads(zlib.decompress(self.packed()))
        return self._sources

    def code(self, path: str, name: str) -> CodeType:
        if path in self._compiled:
            import marshal

            try:
                code: CodeType = marshal.loads(self._compiled[path])
                return code
            except OSError:
                # It is damaged, or its file was closed.
                pass
        # A folder without __init__.py has none.
        source = self.sources()[path] if path in self.paths else ""
        return compile(source, path or name, "exec")


class MemoryImporter:
    """Finds and loads the modules of one package from memory.

    Implements the protocols without their base classes, which load slower than the agent.
    """

    def __init__(self, program: Program) -> None:
        self.program = program

    def _path(self, name: str) -> str | None:
        stem = name.replace(".", "/")
        for path in (stem + "/__init__.py", stem + ".py"):
            if path in self.program.paths:
                return path
        # A folder without __init__.py is also a package.
        return stem + "/__init__.py" if stem in self.program.folders else None

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        where = self._path(fullname)
        if where is None:
            return None
        is_package = where.endswith("/__init__.py")
        spec = ModuleSpec(fullname, None, origin=where, is_package=is_package)
        # Has the methods of importlib.abc.Loader, but does not inherit from it.
        spec.loader = self  # type: ignore[assignment]
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def get_source(self, fullname: str) -> str:
        return self.program.sources().get(self._path(fullname) or "", "")

    def get_code(self, fullname: str) -> CodeType:
        return self.program.code(self._path(fullname) or "", fullname)

    def exec_module(self, module: ModuleType) -> None:
        exec(self.get_code(module.__name__), module.__dict__)


def run(given: Mapping[str, Any]) -> None:
    # Each collection while modules load looks at all of them, and finds nothing.
    gc.set_threshold(FIRST_COLLECTION)
    words: Sequence[str] = given.get("WORDS", ())
    program = Program(given.get("SOURCES"), given.get("PACKED", b""), given.get("COMPILED", {}))
    sys.meta_path.insert(0, MemoryImporter(program))
    if words and words[0] in ALONE:
        import_module(ALONE[words[0]]).main(words)
        return
    own = import_module("celeriac_host.system.own_program")
    own.put(program.sources, program.packed, given.get("BUILD", ""))
    if given.get("HARDENED") is True:
        import_module("celeriac_host.session.hardened").main()
    elif words:
        import_module("celeriac_host.transaction.work").main(words)
    else:
        import_module("celeriac_host.session.agent").main()


if "SOURCES" in globals() or "PACKED" in globals():
    run(globals())
