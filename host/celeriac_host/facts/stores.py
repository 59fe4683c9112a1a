"""SQLite files: who owns them, which tables they have. Read as they are, and left so."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections import deque
from typing import Any

from celeriac_host.facts.code import is_skipped, working_directory
from celeriac_host.store import postgres
from celeriac_host.system import units
from celeriac_host.system.errors import OperationError
from celeriac_host.system.identities import Identity, group_name, user_name
from celeriac_host.system.system import System

ENDINGS = (".db", ".sqlite", ".sqlite3")
DEPTH = 3
FOUND_LIMIT = 20
HEADER = b"SQLite format 3\0"
TIMEOUT_SECONDS = 45.0
# Runs in a process of its own, as the file's owner: what SQLite writes beside a database (-wal,
# -shm) must not belong to root, or the app can't write any more.
CODE = """
import json, os, sqlite3, sys, urllib.parse
path, wal, wanted = sys.argv[1], sys.argv[2] == "wal", json.loads(sys.argv[3])
# A WAL database that nobody has open: all of it is in the one file, and immutable leaves it alone
# where mode=ro would make the files beside it.
still = wal and not os.path.exists(path + "-wal")
uri = "file:" + urllib.parse.quote(path) + ("?immutable=1" if still else "?mode=ro")
db = sqlite3.connect(uri, uri=True, timeout=3)
db.text_factory = lambda text: text.decode("utf-8", "replace")
quoted = lambda name: '"' + name.replace('"', '""') + '"'
def statuses(table, columns):
    names = [c for w in wanted for c in columns if c.lower() == w.lower()]
    if not names:
        return None
    one = "SELECT * FROM (SELECT %s AS s FROM %s %%s LIMIT %%d)" % (quoted(names[0]), quoted(table))
    # The newest and the oldest rows: a table of millions is not read for its few words.
    ends = [one % ("ORDER BY rowid DESC", 5000), one % ("ORDER BY rowid", 1000)]
    for some in (" UNION ALL ".join(ends), one % ("", 5000)):
        words = "SELECT DISTINCT s FROM (%s) WHERE typeof(s) IN ('text', 'integer') LIMIT 50"
        try:
            return [w[:100] if isinstance(w, str) else w for (w,) in db.execute(words % some)]
        except sqlite3.Error:
            pass  # WITHOUT ROWID; or it can't be read, and then is not told of
    return None
tables = []
names = "SELECT name FROM sqlite_master WHERE type = 'table' AND substr(name, 1, 7) != 'sqlite_'"
for (name,) in db.execute(names + " ORDER BY name LIMIT 500").fetchall():
    columns = db.execute("PRAGMA table_info(%s)" % quoted(name)).fetchall()
    keys = db.execute("PRAGMA foreign_key_list(%s)" % quoted(name)).fetchall()
    tables.append({
        "name": name,
        "columns": [{"name": c[1], "type": c[2]} for c in columns],
        "keys": [[k[3], k[2], k[4]] for k in keys],
        "primary": next((c[1] for c in columns if c[5] == 1), ""),
        "statuses": statuses(name, [c[1] for c in columns]),
    })
db.close()
print(json.dumps(tables))
"""
# What SQLite says → what it means to a person.
PROBLEMS = (
    ("file is not a database", "is not a SQLite database, or an encrypted one"),
    ("malformed", "is damaged: SQLite says that its image is malformed"),
    ("locked", "is locked by another process, also after 3 s of waiting"),
    ("unable to open", "can't be opened by its owner"),
    ("readonly", "was left in the middle of a write, and can't be read before that is undone"),
    ("No module named", "can't be read: this host's Python has no sqlite3 module"),
)


def look(args: dict[str, Any], host: System) -> list[dict[str, Any]]:
    named, unit = args["databases"], args["unit"]
    wanted = args.get("statusColumns", [])
    paths = found(host, unit) if named is None else named
    return [
        postgres_fact(host, unit, path, wanted)
        if postgres.is_url(path)
        else store_fact(host, path, wanted)
        for path in paths
    ]


def postgres_fact(host: System, unit: str, url: str, wanted: list[str]) -> dict[str, Any]:
    try:
        tables = postgres.tables(host, unit, url, wanted)
    except OperationError as error:
        return {"kind": "unreadable", "path": url, "problem": error.message}
    return {"kind": "postgresql", "path": url, "tables": tables}


def found(host: System, unit: str) -> list[str]:
    """Files below the unit's directory, and the PostgreSQL databases that its environment names."""
    try:
        urls = postgres.named_in(units.context(host, unit).environment)
    except OperationError:
        urls = []
    return [*discover(host, unit), *urls]


def discover(host: System, unit: str) -> list[str]:
    """Files below the unit's WorkingDirectory that are called like a SQLite database."""
    directory = working_directory(host, unit)
    found: list[str] = []
    folders = deque([(directory, 1)] if directory else [])
    while folders and len(found) < FOUND_LIMIT:
        folder, depth = folders.popleft()
        try:
            with os.scandir(folder) as opened:
                entries = sorted(opened, key=lambda entry: entry.name)
        except OSError:
            continue
        if any(entry.name == "pyvenv.cfg" for entry in entries):
            continue
        for entry in entries:
            if entry.is_file() and entry.name.endswith(ENDINGS):
                found.append(entry.path)
            elif depth < DEPTH and entry.is_dir(follow_symlinks=False):
                folders.extend([] if is_skipped(entry.name) else [(entry.path, depth + 1)])
    return found[:FOUND_LIMIT]


def store_fact(host: System, path: str, wanted: list[str]) -> dict[str, Any]:
    try:
        about = os.stat(path)
        if not stat.S_ISREG(about.st_mode):
            return unreadable(path, "is not a regular file")
        with open(path, "rb") as file:
            header = file.read(100)
    except (FileNotFoundError, NotADirectoryError):
        return {"kind": "absent", "path": path}
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return unreadable(path, f"can't be opened: {reason}")
    if header and not header.startswith(HEADER):
        return unreadable(
            path, "is not a SQLite database (or an encrypted one): its header differs"
        )
    try:
        tables = read_tables(host, path, about, header[18:20] == b"\2\2", wanted)
    except OperationError as error:
        return unreadable(path, _meaning(error))
    return {
        "kind": "sqlite",
        "path": path,
        "file": f"{about.st_dev}:{about.st_ino}",
        "owner": user_name(about.st_uid),
        "group": group_name(about.st_gid),
        "sizeBytes": about.st_size,
        "tables": tables,
    }


def unreadable(path: str, problem: str) -> dict[str, Any]:
    return {"kind": "unreadable", "path": path, "problem": f"{path} {problem}"}


def read_tables(
    host: System, path: str, about: os.stat_result, wal: bool, wanted: list[str]
) -> list[dict[str, Any]]:
    """As the file's owner. Raises OperationError with SQLite's words."""
    how = "wal" if wal else "plain"
    argv = [sys.executable, "-I", "-S", "-c", CODE, path, how, json.dumps(wanted)]
    whom = owner(about)
    try:
        done = host.run(argv, timeout=TIMEOUT_SECONDS, user=whom)
    except OperationError:
        # An owner who may not pass the folders above. Without a -wal we leave nothing behind.
        if whom is None or os.path.exists(path + "-wal"):
            raise
        done = host.run(argv, timeout=TIMEOUT_SECONDS)
    tables: list[dict[str, Any]] = json.loads(done.out)
    primary = {table["name"].lower(): table.pop("primary") for table in tables}
    for table in tables:
        if table["statuses"] is None:
            del table["statuses"]
        table["foreignKeys"] = [
            # A key that names no column means the parent's primary key.
            {"column": column, "table": parent, "to": to or primary.get(parent.lower(), "")}
            for column, parent, to in table.pop("keys")
        ]
    return tables


def owner(about: os.stat_result) -> Identity | None:
    """Whom to read as; None: as we are (it is ours, or we may not choose)."""
    if os.geteuid() != 0 or about.st_uid == 0:
        return None
    name = user_name(about.st_uid)
    try:
        groups = os.getgrouplist(name, about.st_gid)
    except (KeyError, OSError):
        groups = [about.st_gid]
    return Identity(name, about.st_uid, about.st_gid, sorted(groups), "/", "/bin/sh")


def _meaning(error: OperationError) -> str:
    said = "\n".join([error.message, *error.evidence])
    for words, meaning in PROBLEMS:
        if words in said:
            return meaning
    return f"can't be read: {error.message}"
