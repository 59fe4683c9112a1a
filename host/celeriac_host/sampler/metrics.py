"""The last sample of each unit in the text format of Prometheus."""

from __future__ import annotations

from typing import Any, Iterable, NamedTuple, Sequence


class Metric(NamedTuple):
    name: str
    kind: str
    help: str
    # Sample → values, each with its labels beside that of the unit.
    read: Any


def _one(*path: str, scale: float = 1) -> Any:
    """A number of the sample; nothing where it is not known."""

    def read(
        sample: dict[str, Any], totals: dict[str, int]
    ) -> Iterable[tuple[dict[str, str], Any]]:
        value: Any = sample
        for key in path:
            value = None if value is None else value[key]
        if value is not None:
            yield {}, value * scale if scale != 1 else value

    return read


def _total(name: str) -> Any:
    return lambda sample, totals: [({}, totals[name])]


def _active(sample: dict[str, Any], totals: dict[str, int]) -> Iterable[tuple[dict[str, str], Any]]:
    if sample["unit"] is not None:
        yield {}, int(sample["unit"]["active"] == "active")


def _queues(sample: dict[str, Any], totals: dict[str, int]) -> Iterable[tuple[dict[str, str], Any]]:
    queues = (sample["worker"] or {}).get("queues") or {}
    return [({"queue": name}, count) for name, count in sorted(queues.items())]


def _disk(key: str) -> Any:
    return lambda sample, totals: [({"path": each["path"]}, each[key]) for each in sample["disk"]]


STALL = 1e-6
METRICS: Sequence[Metric] = (
    Metric("sample_time_seconds", "gauge", "When the last sample was taken.", _one("at")),
    Metric("unit_active", "gauge", "Whether systemd says that the unit is active.", _active),
    Metric(
        "unit_restarts_total", "counter", "Restarts by systemd itself.", _one("unit", "restarts")
    ),
    Metric(
        "memory_current_bytes", "gauge", "Memory of the unit's cgroup.", _one("memory", "current")
    ),
    Metric(
        "memory_anon_bytes", "gauge", "Part of it that is not file cache.", _one("memory", "anon")
    ),
    Metric("memory_peak_bytes", "gauge", "Its peak since the start.", _one("memory", "peak")),
    Metric(
        "memory_main_bytes", "gauge", "Resident memory of the main process.", _one("memory", "main")
    ),
    Metric(
        "memory_children_bytes",
        "gauge",
        "Resident memory of the other processes together.",
        _one("memory", "children"),
    ),
    Metric("memory_swap_bytes", "gauge", "Swap that the unit uses.", _one("memory", "swap")),
    Metric("memory_high_bytes", "gauge", "MemoryHigh of the unit.", _one("memory", "high")),
    Metric("memory_max_bytes", "gauge", "MemoryMax of the unit.", _one("memory", "max")),
    Metric(
        "memory_high_events_total",
        "counter",
        "How often MemoryHigh throttled the unit.",
        _one("events", "high"),
    ),
    Metric(
        "oom_kills_total",
        "counter",
        "Processes of the unit killed for lack of memory.",
        _one("events", "oomKill"),
    ),
    Metric(
        "memory_stall_seconds_total",
        "counter",
        "Time in which some process of the unit waited for memory.",
        _one("pressure", "memory", "some", scale=STALL),
    ),
    Metric(
        "io_stall_seconds_total",
        "counter",
        "Time in which some process of the unit waited for input or output.",
        _one("pressure", "io", "some", scale=STALL),
    ),
    Metric("queue_messages", "gauge", "Messages waiting in a queue of the worker.", _queues),
    Metric("tasks_active", "gauge", "Running tasks.", _one("worker", "active")),
    Metric(
        "tasks_processed_total",
        "counter",
        "Tasks that the worker has accepted since its start.",
        _one("worker", "processed"),
    ),
    Metric("journal_errors_total", "counter", "Errors in its journal.", _total("errors")),
    Metric(
        "journal_tracebacks_total", "counter", "Tracebacks in its journal.", _total("tracebacks")
    ),
    Metric(
        "journal_rate_limits_total",
        "counter",
        "HTTP statuses 429 in its journal.",
        _total("rateLimited"),
    ),
    Metric(
        "journal_dropped_total",
        "counter",
        "Lines of its journal that were dropped: the other counts are lower bounds.",
        _total("dropped"),
    ),
    Metric(
        "journal_unread_total",
        "counter",
        "Minutes with more lines than are read: the other counts are lower bounds.",
        _total("unread"),
    ),
    Metric("disk_free_bytes", "gauge", "Free space where the app writes.", _disk("free")),
    Metric("disk_free_inodes", "gauge", "Free inodes where the app writes.", _disk("inodesFree")),
)


def text(shown: Sequence[tuple[str, dict[str, Any], dict[str, int]]]) -> str:
    """Of each unit, its sample and the totals of its journal."""
    lines = []
    for metric in METRICS:
        name = f"celeriac_{metric.name}"
        values = [
            f"{name}{_labels({'unit': unit, **labels})} {value}"
            for unit, sample, totals in shown
            for labels, value in metric.read(sample, totals)
        ]
        if values:
            lines += [f"# HELP {name} {metric.help}", f"# TYPE {name} {metric.kind}", *values]
    return "".join(line + "\n" for line in lines)


def _labels(labels: dict[str, str]) -> str:
    pairs = (f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return "{" + ",".join(pairs) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
