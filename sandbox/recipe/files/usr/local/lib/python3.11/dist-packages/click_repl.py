"""In place of a package that only `celery amqp`'s shell needs and every start would import."""

from __future__ import annotations

from typing import Any


def register_repl(group: Any, name: str = 'repl') -> None:
    """No shell."""
