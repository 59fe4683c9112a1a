"""The page of the protocol lists what is in the state folder."""

from __future__ import annotations

import os
import re
from pathlib import Path

from celeriac_host.code import environments, parcels, sources
from celeriac_host.sampler import work
from celeriac_host.state import (
    journal,
    ledger,
    lock_file,
    notices,
    program_file,
    samples,
    sampling,
    version,
)
from celeriac_host.store import backups, resets

PAGE = Path(__file__).parents[2] / "docs/reference/protocol.md"
PATHS = (
    lock_file.path("/s"),
    program_file.path("/s"),
    program_file.compiled_path("/s"),
    journal.transactions_folder("/s"),
    backups.folder_of("/s"),
)
NAMES = {
    *(os.path.basename(path) for path in PATHS),
    version.NAME,
    ledger.LEDGER,
    ledger.AWAITING,
    ledger.ROLLING,
    notices.NOTICES,
    sampling.FOLDER,
    samples.FOLDER,
    work.LOCK,
    parcels.FOLDER,
    sources.FOLDER,
    environments.FOLDER,
    resets.NAME,
}


def test_the_page_lists_what_is_in_the_state_folder() -> None:
    section = PAGE.read_text(encoding="utf-8").partition("`/var/lib/celeriac/`")[2]
    block = section.split("```")[1].strip()
    assert {re.split(r"[/ ]", line)[0] for line in block.splitlines()} == NAMES
