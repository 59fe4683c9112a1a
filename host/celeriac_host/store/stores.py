"""Opens a database of the app by its path or URL."""

from __future__ import annotations

from celeriac_host.store import postgres_url
from celeriac_host.store.store import Store
from celeriac_host.system.app_user import app_user
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System


def open_store(url: str, host: System, unit: str = "", user: str | None = None) -> Store:
    """The database behind a path, or behind a postgresql:// URL.

    `user` opens it, or if None the unit's user; a PostgreSQL database with the environment of the
    unit. Opens nothing yet. Raises OperationError when the user is not known, the URL is invalid or
    has a password, or this host's Python lacks what the database needs.
    """
    # Imported only when needed: a host whose Python lacks sqlite3 may have no SQLite database.
    if postgres_url.is_url(url):
        from celeriac_host.store.postgres_store import PostgresStore

        return PostgresStore(postgres_url.checked(url), host, unit, user)
    # Not repeated: it may be a URL of another kind.
    if not url.startswith("/"):
        raise OperationError(
            "a database is invalid: expected an absolute path or a postgresql:// URL"
        )
    try:
        from celeriac_host.store.sqlite_store import SqliteStore
    except ModuleNotFoundError as error:
        if error.name not in ("sqlite3", "_sqlite3"):
            raise
        problem = "cannot be read: this host's Python has no sqlite3 module"
        raise OperationError(f"{url} {problem}") from None
    return SqliteStore(url, host, app_user(host, unit, user))
