"""A host in hardened mode for the tests of its rules: a policy, a unit, and what asks for it."""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path
from typing import Any, Dict

from celeriac_host.policy import document
from celeriac_host.policy.scene import Scene
from hosts import Host

UNIT = "shop-worker.service"
USER = "daemon"
SUPPORT = "# the support module\n"
SUPPORT_FOLDER = "/usr/local/lib/celeriac/0123456789ab"
COMMIT = "1" * 40
SHA = "a" * 64
IDENT = "20260101T000000-0001"

TEXT = f"""\
[Unit]
Description=The shop's worker
After=network.target redis.service

[Service]
User={USER}
WorkingDirectory=%(app)s
Environment=SECRET=1 PYTHONPATH=/srv/lib
ExecStartPre=+/usr/bin/install -d /run/shop
ExecStartPre=/usr/bin/pkill -f "celery.*worker"
ExecStart=%(app)s/venv/bin/celery -A shop worker -Q a,b -c 4
NoNewPrivileges=yes

[Install]
WantedBy=multi-user.target
"""


class Hardened:
    """Its files are below `root`, a folder that only root can change."""

    def __init__(self, root: Path, state: str) -> None:
        self.root = root
        self.app = str(root / "app")
        self.python = f"{self.app}/venv/bin/python3"
        os.makedirs(f"{self.app}/venv/bin")
        self.script(f"{self.app}/venv/bin/celery", f"#!{self.python}\n")
        self.script(self.python, "\x7fELF")
        entry = pwd.getpwnam(USER)
        for path in (self.app, f"{self.app}/venv", f"{self.app}/venv/bin"):
            os.chown(path, entry.pw_uid, entry.pw_gid)
        self.unit_path = str(root / UNIT)
        self.text = TEXT % {"app": self.app}
        Path(self.unit_path).write_text(self.text)
        self.policy: Dict[str, Any] = {
            "version": 1,
            "access": "change",
            "units": [UNIT],
            "appUser": USER,
            "companions": ["shop-web.service"],
            "databases": [f"{self.app}/app.db", "postgresql://shop@localhost/shop"],
            "checkout": self.app,
            "deployTo": str(root / "releases"),
            "swap": {"path": "/swapfile", "largestBytes": 2**31},
            "sysctl": {"vm.swappiness": [0, 100]},
            "urls": ["http://127.0.0.1:8000/api/", "http://127.0.0.1:8000/health"],
            "tasks": ["shop.tasks.probe"],
            "commands": [["python", "manage.py", "migrate"]],
            "writablePaths": ["/srv/media"],
        }
        self.host = Host(state)
        # Which processes are workers; a test may set it.
        self.pattern = ""
        self.load()

    def script(self, path: str, text: str) -> None:
        Path(path).write_text(text)
        os.chmod(path, 0o755)

    def load(self, **properties: str) -> None:
        """What systemd says about the unit."""
        argv = f"{self.app}/venv/bin/celery -A shop worker -Q a,b -c 4"
        start = f"path={self.app}/venv/bin/celery ; argv[]={argv} ;"
        seen = {
            "LoadState": "loaded",
            "User": USER,
            "ExecStart": f"{{ {start} ignore_errors=no ; }}",
            "ExecStartEx": f"{{ {start} flags= ; }}",
            "MainPID": "0",
            "WorkingDirectory": self.app,
            "Environment": "SECRET=1 PYTHONPATH=/srv/lib",
            "FragmentPath": self.unit_path,
            "DropInPaths": "",
            **properties,
        }
        said = "".join(f"{name}={value}\n" for name, value in seen.items())
        self.host.answers[("systemctl", "show")] = (0, said)
        self.host.answers[("systemctl", "show-environment")] = (0, "")

    def scene(self, access: str = "change", **policy: Any) -> Scene:
        content = json.dumps({**self.policy, **policy}).encode()
        sources = {"support/celeriac_support.py": SUPPORT}
        return Scene(document.parse(content), self.host, sources, access)

    def by_the_app(self) -> Dict[str, Any]:
        return {
            "unit": UNIT,
            "interpreter": [self.python],
            "app": "shop",
            "pythonPath": [SUPPORT_FOLDER, self.app],
        }
