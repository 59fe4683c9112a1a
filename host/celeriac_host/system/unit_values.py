"""What values of `systemctl show`, and of control groups, mean."""

from __future__ import annotations

from typing import Mapping

# ActiveState of a unit that runs, and of one that neither runs nor is on its way.
SERVING = ("active", "reloading", "refreshing")
RESTING = ("inactive", "failed")
# cgroup v1 has a number near 2^63 for "no limit": the largest number of whole pages.
NO_LIMIT_BYTES = 1 << 62
# Variable, property and parent of the folders that systemd makes for a unit.
FOLDERS = (
    ("RUNTIME_DIRECTORY", "RuntimeDirectory", "/run"),
    ("STATE_DIRECTORY", "StateDirectory", "/var/lib"),
    ("CACHE_DIRECTORY", "CacheDirectory", "/var/cache"),
    ("LOGS_DIRECTORY", "LogsDirectory", "/var/log"),
    ("CONFIGURATION_DIRECTORY", "ConfigurationDirectory", "/etc"),
)


def folder_variables(seen: Mapping[str, str]) -> dict[str, str]:
    """What the processes of a unit with these properties find in their environment."""
    lists = ((name, seen.get(key, "").split(), parent) for name, key, parent in FOLDERS)
    return {
        name: ":".join(f"{parent}/{each}" for each in folders)
        for name, folders, parent in lists
        if folders
    }
