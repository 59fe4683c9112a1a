"""Makes the package importable from memory, then runs the agent or the detached process.

The bootstrap executes this file with a global `SOURCES`: module path → source. The copy of the
agent on the host's disk also sets `WORDS`, the arguments of `work.py` or of the sampler; the
installed agent of the hardened mode sets `HARDENED`.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import Sequence

# Work that runs every minute, or must be small: it loads nothing of the transactions.
ALONE = {"sample": "celeriac_host.sampler.work", "tell": "celeriac_host.sampler.deliver"}


class MemoryImporter:
    """Finds and loads the modules of one package from memory.

    Implements the protocols without their base classes, which load slower than the agent.
    """

    def __init__(self, sources: dict[str, str]) -> None:
        self.sources = sources

    def _path(self, name: str) -> str | None:
        stem = name.replace(".", "/")
        for path in (stem + "/__init__.py", stem + ".py"):
            if path in self.sources:
                return path
        # A folder without __init__.py is also a package.
        inside = any(path.startswith(stem + "/") for path in self.sources)
        return stem + "/__init__.py" if inside else None

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
        return self.sources.get(self._path(fullname) or "", "")

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.get_source(fullname), self._path(fullname) or fullname, "exec")

    def exec_module(self, module: ModuleType) -> None:
        exec(self.get_code(module.__name__), module.__dict__)


def run(sources: dict[str, str], words: Sequence[str], hardened: bool = False) -> None:
    sys.meta_path.insert(0, MemoryImporter(sources))
    if words and words[0] in ALONE:
        import_module(ALONE[words[0]]).main(words)
        return
    # These two write them to the host.
    for name in ("celeriac_host.transaction.program", "celeriac_host.system.installed"):
        vars(import_module(name))["SOURCES"] = sources
    if hardened:
        import_module("celeriac_host.session.hardened").main()
    elif words:
        import_module("celeriac_host.transaction.work").main(words)
    else:
        import_module("celeriac_host.session.agent").main()


if "SOURCES" in globals():
    run(globals()["SOURCES"], globals().get("WORDS", ()), globals().get("HARDENED") is True)
