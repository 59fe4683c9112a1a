"""What values of `systemctl show`, and of control groups, mean."""

from __future__ import annotations

# ActiveState of a unit that runs, and of one that neither runs nor is on its way.
SERVING = ("active", "reloading", "refreshing")
RESTING = ("inactive", "failed")
# cgroup v1 has a number near 2^63 for "no limit": the largest number of whole pages.
NO_LIMIT_BYTES = 1 << 62
