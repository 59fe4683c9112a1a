"""URLs of PostgreSQL databases: read strictly, passed on without passwords, never repeated.

A URL in the environment of an app is written for the app's library, which may take a password with
/, ?, @ or : as it is. So the login ends at the last @; what is ambiguous then is not read at all.
The rules for a URL without a password are those of `src/config/postgres-url.ts`.
"""

from __future__ import annotations

import re
import urllib.parse
from typing import NamedTuple

from celeriac_host.system.errors import OperationError

SCHEMES = ("postgresql", "postgres")
# Neither options that hold a secret (password, sslpassword), nor those that name a file with one
# (passfile, service), nor those that replace other parts.
KNOWN_OPTIONS = frozenset(
    [
        "application_name",
        "channel_binding",
        "connect_timeout",
        "gssencmode",
        "host",
        "hostaddr",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "options",
        "port",
        "require_auth",
        "sslcert",
        "sslkey",
        "sslmode",
        "sslnegotiation",
        "sslrootcert",
        "target_session_attrs",
        "tcp_user_timeout",
    ]
)
PLACE = re.compile(
    r"(?P<host>[A-Za-z0-9_.-]*|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
    r"(?:/(?P<database>[A-Za-z0-9_.%-]*))?(?:\?(?P<query>.*))?",
    re.DOTALL,
)
USER = re.compile(r"[A-Za-z0-9_.@+-]*")
VALUE = re.compile(r"[A-Za-z0-9_=%./,:+-]*")
SEARCH_PATH = re.compile(r"-c ?search_path=[A-Za-z0-9_,.-]+")


class Url(NamedTuple):
    """The parts as they are encoded, except for the password."""

    user: str
    password: str | None
    host: str
    port: int | None
    database: str
    options: tuple[tuple[str, str], ...]
    # Some of its options are unknown, and not passed on.
    is_cut: bool

    def __repr__(self) -> str:
        return self.plain()

    def plain(self) -> str:
        """The URL without its password, with the options that are known."""
        login = f"{self.user}@" if self.user else ""
        port = "" if self.port is None else f":{self.port}"
        database = f"/{self.database}" if self.database else ""
        options = "&".join(f"{name}={value}" for name, value in self.options)
        return f"postgresql://{login}{self.host}{port}{database}{options and '?'}{options}"

    def server(self) -> tuple[str, int, str, str]:
        """What two URLs of the same database have in common."""
        host = self.host.lower() or "localhost"
        name = "localhost" if host in ("127.0.0.1", "[::1]") else host
        decode = urllib.parse.unquote
        return name, self.port or 5432, decode(self.database), decode(self.user)


def is_url(text: str) -> bool:
    """Whether it is meant as one."""
    return text.partition("://")[0] in SCHEMES


def parse(text: str) -> Url | None:
    """None: it cannot be read without a doubt."""
    scheme, mark, rest = text.partition("://")
    login, _, where = rest.rpartition("@")
    # Either a password with both signs, or an option with an @.
    if scheme not in SCHEMES or not mark or re.search(r"\?.*=", login, re.DOTALL):
        return None
    user, colon, secret = login.partition(":")
    found = PLACE.fullmatch(where)
    if found is None or "@" in user or not USER.fullmatch(urllib.parse.unquote(user)):
        return None
    port = None if found["port"] is None else int(found["port"])
    if port is not None and not 1 <= port <= 65535:
        return None
    password = urllib.parse.unquote(secret) if colon else None
    given = _options(found["query"] or "")
    password = next((urllib.parse.unquote(v) for n, v in given if n == "password"), password)
    kept = tuple((name, value) for name, value in given if _is_known(name, value))
    database = found["database"] or ""
    return Url(user, password, found["host"], port, database, kept, len(kept) < len(given))


def _options(query: str) -> list[tuple[str, str]]:
    """Names without their encoding, which libpq accepts, too."""
    pairs = [each.partition("=") for each in query.split("&") if each]
    return [(urllib.parse.unquote(name), value) for name, _, value in pairs]


def _is_known(name: str, value: str) -> bool:
    if name not in KNOWN_OPTIONS or not VALUE.fullmatch(value):
        return False
    return name != "options" or bool(SEARCH_PATH.fullmatch(urllib.parse.unquote(value)))


def checked(text: str) -> str:
    """A URL from a request, as it goes into a command line. Raises OperationError."""
    url = parse(text)
    if url is None or url.password is not None or url.is_cut:
        raise OperationError(
            "the URL of the database is invalid, or contains a password; expected"
            " postgresql://USER@HOST:PORT/NAME, without a password"
        )
    return url.plain()


def in_environment(environment: dict[str, str]) -> tuple[list[Url], list[str]]:
    """The URLs in an environment, and the variables with a URL that cannot be read."""
    found: list[Url] = []
    unread: list[str] = []
    for name, value in environment.items():
        # SQLAlchemy writes `postgresql+psycopg2://`, Celery `db+postgresql://`.
        pattern = r"^(?:db\+)?postgres(?:ql)?(?:\+\w+)?://"
        text = re.sub(pattern, "postgresql://", value.strip())
        if is_url(text):
            url = parse(text)
            if url is None:
                unread.append(name)
            else:
                found.append(url)
    return found, unread
