"""The agent as it is started over SSH: its program on stdin, then one line per request."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any, Dict, Iterator

import pytest
from celeriac_host.session.wire import LINE_LIMIT_BYTES

HOST = Path(__file__).resolve().parents[1]
SOURCES = {
    str(path.relative_to(HOST)): path.read_text()
    for path in sorted(HOST.rglob("*.py"))
    if "tests" not in path.parts
}
# As src/adapters/agent/agent-start.ts does where the host has not this version.
START = (
    "import sys,json,zlib;z=sys.stdin.buffer.read(%d);s=json.loads(zlib.decompress(z));"
    'exec(compile(s["celeriac_host/session/loader.py"],"celeriac_host/session/loader.py","exec"),'
    '{"SOURCES":s,"PACKED":z,"BUILD":"b"*64})'
)


class Agent:
    def __init__(self, sources: Dict[str, str]) -> None:
        packed = zlib.compress(json.dumps(sources).encode())
        pipe = subprocess.PIPE
        argv = [sys.executable, "-I", "-S", "-uc", START % len(packed)]
        self.process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, cwd="/")
        self.write(packed)

    def write(self, content: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(content)
        self.process.stdin.flush()

    def read(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def ask(self, **message: Any) -> Any:
        self.write(json.dumps(message).encode() + b"\n")
        return self.read()

    def end(self) -> tuple[int, bytes, bytes]:
        """Closes its stdin; returns exit code, the rest of stdout, and stderr."""
        out, err = self.process.communicate()
        return self.process.returncode, out, err


@pytest.fixture
def agent() -> Iterator[Agent]:
    started = Agent(SOURCES)
    yield started
    started.process.kill()
    started.process.communicate()


def test_every_module_is_imported_from_memory_on_this_python() -> None:
    names = [name[:-3].replace("/", ".") for name in SOURCES if name.startswith("celeriac_host/")]
    asked = [name for name in names if not name.endswith(("loader", "__init__"))]
    # Instead of the agent: the modules that it imports only on request.
    program = "import importlib\ndef main():\n" + "".join(
        f"    importlib.import_module({name!r})\n" for name in asked
    )
    started = Agent({**SOURCES, "celeriac_host/session/agent.py": program + "    print('all')\n"})
    code, out, err = started.end()
    assert (code, out, err) == (0, b"all\n", b"")
    assert len(asked) > 60


def test_it_introduces_itself_answers_and_exits(agent: Agent) -> None:
    hello = agent.read()
    assert (hello["hello"], hello["protocol"]) == ("celeriac", 1)
    assert hello["python"] == ".".join(map(str, sys.version_info[:3]))
    assert hello["pid"] == agent.process.pid
    assert agent.ask(id=1, ask="look", query={})["answer"] == {}
    agent.write(b'{"ask": "bye"}\n')
    assert agent.end() == (0, b"", b"")


def test_it_exits_when_stdin_closes(agent: Agent) -> None:
    agent.read()
    assert agent.end() == (0, b"", b"")


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_it_exits_on_a_signal(agent: Agent, sent: signal.Signals) -> None:
    agent.read()
    agent.process.send_signal(sent)
    assert agent.process.wait(600) == 0


@pytest.mark.parametrize(
    ("line", "ident"),
    [
        (b"no JSON\n", None),
        (b"\xff\xfe\n", None),
        (b"[1]\n", None),
        (b"{}\n", None),
        (b'{"id": 7, "ask": "dance"}\n', 7),
        (b'{"id": 7, "ask": "look", "query": {"os.path": {}}}\n', 7),
        (b'{"id": 7, "ask": "look", "query": {"nothing": {}}}\n', 7),
        (b'{"id": 7, "ask": "look"}\n', 7),
        (b'{"id": 7, "ask": "receive", "sha256": "../../etc/passwd", "step": "begin"}\n', 7),
    ],
)
def test_an_invalid_message_is_a_fault_and_it_continues(
    agent: Agent, line: bytes, ident: Any
) -> None:
    agent.read()
    agent.write(line)
    said = agent.read()
    assert said["id"] == ident
    assert said["fault"]["message"]
    assert agent.ask(id=8, ask="look", query={}) == {"id": 8, "answer": {}}


def test_a_request_of_one_mebibyte_is_accepted_and_a_longer_one_ends_it(agent: Agent) -> None:
    agent.read()
    filled = {"id": 1, "ask": "look", "query": {}, "more": ""}
    filled["more"] = "x" * (LINE_LIMIT_BYTES - len(json.dumps(filled)) - 1)
    assert agent.ask(**filled)["answer"] == {}
    agent.write(b"x" * (LINE_LIMIT_BYTES + 1))
    assert agent.process.wait(600) == 0


def test_an_answer_that_exceeds_a_line_is_a_fault(tmp_path: Path) -> None:
    fact = "def look(args, host):\n    return 'x' * (1024 * 1024)\n"
    started = Agent({**SOURCES, "celeriac_host/facts/large.py": fact})
    started.read()
    said = started.ask(id=1, ask="look", query={"large": {}})
    assert "1 MiB" in said["fault"]["message"]
    assert started.ask(id=2, ask="look", query={})["answer"] == {}
    started.end()


def test_other_output_does_not_mix_with_the_protocol() -> None:
    fact = (
        "import os, sys\ndef look(args, host):\n    print('to stdout')\n"
        "    os.system('echo from a child')\n    return 1\n"
    )
    started = Agent({**SOURCES, "celeriac_host/facts/loud.py": fact})
    started.read()
    assert started.ask(id=1, ask="look", query={"loud": {}}) == {"id": 1, "answer": {"loud": 1}}
    code, out, err = started.end()
    assert (code, out) == (0, b"")
    assert sorted(err.splitlines()) == [b"from a child", b"to stdout"]


def test_a_reader_that_disconnects_does_not_block_it() -> None:
    fact = "def look(args, host):\n    return 'x' * 1_000_000\n"
    started = Agent({**SOURCES, "celeriac_host/facts/large.py": fact})
    started.read()
    for ident in range(20):
        line = {"id": ident, "ask": "look", "query": {"large": {}}}
        started.write(json.dumps(line).encode() + b"\n")
    assert started.process.stdout is not None
    started.process.stdout.close()
    assert started.process.wait(600) == 0
    for pipe in (started.process.stdin, started.process.stderr):
        assert pipe is not None
        pipe.close()


def test_bulk_data_arrives_complete_and_in_order() -> None:
    snapshot = (
        "def snapshot(message, host, chunk):\n"
        "    for number in range(60):\n        chunk(bytes([number]) * 100_000)\n"
        "    return 60\n"
    )
    started = Agent({**SOURCES, "celeriac_host/session/snapshot.py": snapshot})
    started.read()
    first = started.ask(id=1, ask="snapshot")
    for number in range(60):
        said = first if number == 0 else started.read()
        assert base64.b64decode(said["progress"]["data"]) == bytes([number]) * 100_000
    assert started.read() == {"id": 1, "answer": 60}
    started.end()
