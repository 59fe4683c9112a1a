"""What must not be in the environment of a worker that is about to start."""

from __future__ import annotations

import pytest
from celeriac_host.operations import try_app
from celeriac_host.system.errors import OperationError

UNWANTED = {
    "variables": ["A", "CELERYD_OPTS"],
    "words": ["--purge", "--discard"],
    "why": "the queues are emptied",
    "fix": "remove it",
}


@pytest.mark.parametrize(
    "value", ["--purge", "-l info --purge", '-c 1 "--discard"', "--purge\t-c 2", "-Q a '--purge'"]
)
def test_an_unwanted_word_is_refused_without_the_rest_of_the_value(value: str) -> None:
    with pytest.raises(OperationError) as caught:
        try_app._refuse_unwanted(UNWANTED, {"CELERYD_OPTS": f"TOKEN=hunter2 {value}"})
    assert caught.value.message.startswith("the variable CELERYD_OPTS contains --")
    assert caught.value.message.endswith(": the queues are emptied")
    assert caught.value.evidence == ["remove it"]
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize("value", ["", "--purge-not", "-Q purge", "x--purge"])
def test_other_words_are_not(value: str) -> None:
    try_app._refuse_unwanted(UNWANTED, {"CELERYD_OPTS": value, "OTHER": "--purge"})
    try_app._refuse_unwanted(None, {"CELERYD_OPTS": "--purge"})
