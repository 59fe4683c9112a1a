"""The agent as a file on the host: what the bootstrap, the guard and the sampler start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Callable, Dict, Iterator, List

import pytest
from celeriac_host.session import loader
from celeriac_host.system import files, own_program
from celeriac_host.transaction import program
from test_agent import SOURCES

BUILD = "b" * 64
# It says how it was loaded.
SMALL = {
    program.LOADER: "print(sorted(COMPILED), BUILD[:3], PACKED()[:1] == b'x', WORDS)\n",
    "a.py": "pass\n",
}


@pytest.fixture(autouse=True)
def no_program() -> Iterator[None]:
    yield
    own_program.put(dict)


def put(sources: Dict[str, str], build: str = BUILD) -> None:
    packed = zlib.compress(json.dumps(sources).encode())
    own_program.put(lambda: sources, lambda: packed, build)


def start(state: str, *words: str) -> str:
    argv = [sys.executable, "-I", "-S", "-u", program.path(state), *words]
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, cwd="/").stdout.decode()


def small(state: str, build: str = BUILD) -> Path:
    put(SMALL, build)
    program.install(state)
    return Path(state, "program.bin")


COMPILED = f"{sorted(SMALL)} bbb True ['guard']\n"
FROM_SOURCES = "[] bbb True ['guard']\n"


def test_it_starts_from_its_compiled_modules(state: str) -> None:
    small(state)
    assert start(state, "guard") == COMPILED


def without(cache: Path) -> None:
    cache.unlink()


def cut_off(cache: Path) -> None:
    cache.write_bytes(cache.read_bytes()[:-1])


def cut_short(cache: Path) -> None:
    cache.write_bytes(cache.read_bytes()[:200])


def flipped(cache: Path, at: int = -5) -> None:
    content = bytearray(cache.read_bytes())
    content[at] ^= 1
    cache.write_bytes(content)


def flipped_place(cache: Path) -> None:
    flipped(cache, cache.read_bytes().index(b"\n") + 20)


def flipped_loader(cache: Path) -> None:
    flipped(cache, cache.read_bytes().index(b"sorted"))


def of_another_version(cache: Path) -> None:
    cache.write_bytes(cache.read_bytes().replace(BUILD.encode(), b"c" * 64))


def of_another_python(cache: Path) -> None:
    tag = sys.implementation.cache_tag.encode()
    cache.write_bytes(cache.read_bytes().replace(tag, b"cpython-27", 1))


def of_everybody(cache: Path) -> None:
    os.chmod(cache, 0o666)


def empty(cache: Path) -> None:
    cache.write_bytes(b"")


FAULTS: List[Callable[[Path], None]] = [
    without,
    cut_short,
    flipped_place,
    flipped_loader,
    of_another_version,
    of_another_python,
    of_everybody,
    empty,
]
# The code of a module that is not needed at once.
LATER_FAULTS: List[Callable[[Path], None]] = [cut_off, flipped]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_it_starts_from_its_sources_where_they_do_not_fit(
    state: str, fault: Callable[[Path], None]
) -> None:
    fault(small(state))
    assert start(state, "guard") == FROM_SOURCES


@pytest.mark.parametrize("fault", [*FAULTS, *LATER_FAULTS], ids=lambda fault: fault.__name__)
def test_the_next_transaction_compiles_them_again(
    state: str, fault: Callable[[Path], None]
) -> None:
    cache = small(state)
    whole = cache.read_bytes()
    fault(cache)
    program.install(state)
    assert start(state, "guard") == COMPILED
    assert cache.read_bytes() == whole


@pytest.mark.parametrize("fault", LATER_FAULTS, ids=lambda fault: fault.__name__)
def test_a_module_whose_code_is_damaged_is_compiled(
    state: str, fault: Callable[[Path], None]
) -> None:
    last = "celeriac_host/transaction/work.py"
    work = "def main(words):\n    import json\n    print('worked', words)\n"
    # In the order of their names, as they are sent.
    put({**{name: SOURCES[name] for name in sorted(SOURCES) if name < last}, last: work})
    program.install(state)
    fault(Path(state, "program.bin"))
    assert start(state, "guard") == "worked ['guard']\n"


def test_its_code_is_read_when_the_file_has_been_replaced(state: str) -> None:
    work = (
        "import os\ndef main(words):\n    os.unlink(words[0])\n"
        "    from celeriac_host.system import errors\n    print(errors.__spec__.origin)\n"
    )
    put({**SOURCES, "celeriac_host/transaction/work.py": work})
    program.install(state)
    assert start(state, f"{state}/program.bin") == "celeriac_host/system/errors.py\n"


def test_without_its_file_a_module_is_compiled(state: str) -> None:
    # As in a process that has closed all files of its parent.
    work = (
        "import os\ndef main(words):\n    os.closerange(3, 256)\n"
        "    from celeriac_host.system import errors\n    print(errors.__spec__.origin)\n"
    )
    put({**SOURCES, "celeriac_host/transaction/work.py": work})
    program.install(state)
    assert start(state, "guard") == "celeriac_host/system/errors.py\n"


def test_what_fits_is_not_written_again(state: str) -> None:
    cache = small(state)
    files = [cache, Path(program.path(state))]
    before = [file.stat() for file in files]
    program.install(state)
    assert [file.stat() for file in files] == before


def test_both_are_for_root_alone(state: str) -> None:
    cache = small(state)
    for file in (cache, Path(program.path(state))):
        assert (file.stat().st_mode & 0o777, file.stat().st_uid) == (0o600, os.geteuid())


def test_one_that_others_may_change_is_written_again(state: str) -> None:
    small(state)
    os.chmod(program.path(state), 0o666)
    program.install(state)
    assert Path(program.path(state)).stat().st_mode & 0o777 == 0o600


def test_another_version_takes_the_place_of_both(state: str) -> None:
    small(state, "a" * 64)
    small(state)
    assert start(state, "guard") == COMPILED
    assert BUILD in Path(program.path(state)).read_text().splitlines()[0]


class NearlyFull:
    f_frsize = 4096
    f_bavail = files.MARGIN_BYTES // f_frsize - 1


def test_on_a_disk_that_is_nearly_full_none_are_kept(
    state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = small(state)
    of_another_version(cache)
    monkeypatch.setattr(os, "statvfs", lambda path: NearlyFull())
    program.install(state)
    assert not cache.exists()
    assert start(state, "guard") == FROM_SOURCES
    program.install(state)
    assert not cache.exists()


def test_a_disk_that_is_full_costs_only_time(state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(where: str, build: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(program, "_compile", full)
    small(state)
    assert start(state, "guard") == FROM_SOURCES


def test_what_lies_in_their_place_keeps_no_transaction_from_its_guard(state: str) -> None:
    put(SMALL)
    Path(state, "program.bin").mkdir()
    program.install(state)
    assert start(state, "guard") == FROM_SOURCES


def test_the_first_line_has_the_checksum_of_the_rest(state: str) -> None:
    small(state)
    first, _, rest = Path(program.path(state)).read_bytes().partition(b"\n")
    assert b"%s %08x," % (BUILD.encode(), zlib.crc32(rest)) in first


def test_the_bootstrap_runs_all_but_the_last_line(
    state: str, capfd: pytest.CaptureFixture[str]
) -> None:
    small(state)
    rest = Path(program.path(state)).read_bytes().partition(b"\n")[2]
    code = compile(rest[: rest.rindex(10, 0, -1)], "program.py", "exec")
    Path(program.path(state)).unlink()
    exec(code, {"TEXT": rest})
    assert capfd.readouterr().out.startswith(f"{sorted(SMALL)} bbb True")


def test_it_never_takes_the_modules_of_another_version(state: str) -> None:
    small(state)
    old = Path(state, "old.py")
    Path(program.path(state)).rename(old)
    small(state, "a" * 64)
    argv = [sys.executable, "-I", "-S", str(old), "guard"]
    done = subprocess.run(argv, stderr=subprocess.PIPE, cwd="/", check=False)
    assert (done.returncode, b"another version has replaced" in done.stderr) == (1, True)


def test_every_module_is_imported_from_its_compiled_code(state: str) -> None:
    names = [name[:-3].replace("/", ".") for name in SOURCES if name.startswith("celeriac_host/")]
    asked = [name for name in names if not name.endswith(("loader", "__init__"))]
    work = "import importlib\ndef main(words):\n" + "".join(
        f"    importlib.import_module({name!r})\n" for name in asked
    )
    told = "    import sys\n    print('json' in sys.modules, words)\n"
    put({**SOURCES, "celeriac_host/transaction/work.py": work + told})
    program.install(state)
    assert start(state, "guard") == "True ['guard']\n"
    assert len(asked) > 60


def test_the_sources_are_unpacked_only_when_they_are_asked_for() -> None:
    packed = zlib.compress(json.dumps(SMALL).encode())
    code = {name: loader_code(text) for name, text in SMALL.items()}
    found = loader.Program(None, lambda: b"not compressed", code)
    # A folder has no code of its own.
    assert found.code("b/__init__.py", "b").co_names == ()
    assert sorted(found.paths) == sorted(SMALL)
    assert found.code("a.py", "a").co_filename == "a.py"
    with pytest.raises(zlib.error):
        found.sources()
    assert loader.Program(None, packed, code).sources() == SMALL


def loader_code(text: str) -> bytes:
    import marshal

    return marshal.dumps(compile(text, "a.py", "exec"))
