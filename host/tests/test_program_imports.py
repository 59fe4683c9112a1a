"""What a program of the app's process imports is sent with it."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import List

import pytest
from celeriac_host.app import app_process, listener, programs

FOLDER = Path(programs.__path__[0])


def imported(name: str) -> List[str]:
    """The other programs that this one imports, in any form."""
    tree = ast.parse((FOLDER / f"{name}.py").read_text())
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not node.module:
            continue
        if node.module == app_process.PACKAGE:
            found += [each.name for each in node.names]
        elif node.module.startswith(app_process.PACKAGE + "."):
            found.append(node.module.rpartition(".")[2])
    return [each for each in found if each != app_process.SHARED]


@pytest.mark.parametrize("name", sorted(listener.PURPOSES))
def test_each_import_is_sent_before_whoever_needs_it(name: str) -> None:
    sent = tuple(app_process.IMPORTS.get(name, ()))
    for place, each in enumerate((*sent, name)):
        assert set(imported(each)) <= set(sent[:place]), each
    assert len(set(sent)) == len(sent)
