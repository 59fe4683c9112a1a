"""The metrics for Prometheus, read by a parser of its text format, and where they are written."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Dict, Tuple

import pytest
from celeriac_host.sampler import metrics
from celeriac_host.state import textfile
from celeriac_host.system.errors import OperationError

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "prometheus.md"
SAMPLE: Dict[str, Any] = {
    "at": 1795889577.4,
    "unit": {"active": "active", "restarts": 2},
    "memory": {
        "current": 300,
        "anon": 250,
        "peak": 400,
        "main": 100,
        "children": 200,
        "swap": 0,
        "high": 500,
        "max": None,
    },
    "events": {"high": 3, "max": 0, "oom": 1, "oomKill": 1},
    "pressure": {"memory": {"some": 1_500_000, "full": 0}, "io": {"some": 0, "full": 0}},
    "worker": {"queues": {'a"\\\nb': 3, "celery": 0}, "active": 1, "processed": None},
    "disk": [{"path": "/", "free": 10, "inodesFree": 5}],
}
TOTALS = {"errors": 1, "tracebacks": 0, "rateLimited": 4, "dropped": 0, "unread": 0}
NOTHING = {
    **SAMPLE,
    "unit": None,
    "memory": None,
    "events": None,
    "pressure": None,
    "worker": None,
    "disk": [],
}
Labels = Tuple[Tuple[str, str], ...]


def parse(text: str) -> Dict[Tuple[str, Labels], float]:
    """Strict: HELP and TYPE once before the values of each metric, which stand together."""
    assert text.endswith("\n")
    found: Dict[Tuple[str, Labels], float] = {}
    known, current, helped = set(), "", ""
    label = r'([a-z_]+)="((?:[^"\\\n]|\\["\\n])*)"'
    for line in text.splitlines():
        about = re.fullmatch(r"# (HELP|TYPE) (celeriac_[a-z_]+) (.+)", line)
        if about and about.group(1) == "HELP":
            assert about.group(2) not in known
            helped = about.group(2)
            continue
        if about:
            current = about.group(2)
            assert current == helped and about.group(3) in ("gauge", "counter")
            assert (about.group(3) == "counter") == current.endswith("_total")
            known.add(current)
            continue
        value = re.fullmatch(rf"([a-z_]+)\{{((?:{label},?)*)\}} (-?\d+(?:\.\d+)?(?:e-?\d+)?)", line)
        assert value, line
        assert value.group(1) == current
        labels = tuple(re.findall(label, value.group(2)))
        assert (current, labels) not in found
        found[(current, labels)] = float(value.group(5))
    return found


def test_each_value_of_each_unit() -> None:
    units = (("a.service", SAMPLE, TOTALS), ("b.service", NOTHING, TOTALS))
    found = parse(metrics.text(units))

    def of(name: str, unit: str = "a.service", **labels: str) -> Any:
        return found.get((f"celeriac_{name}", (("unit", unit), *labels.items())))

    assert of("unit_active") == 1 and of("unit_active", "b.service") is None
    assert of("unit_restarts_total") == 2
    assert of("memory_current_bytes") == 300
    assert of("memory_max_bytes") is None
    assert of("memory_stall_seconds_total") == 1.5
    assert of("queue_messages", queue="celery") == 0
    assert of("queue_messages", queue='a\\"\\\\\\nb') == 3
    assert of("tasks_processed_total") is None
    assert of("journal_rate_limits_total", "b.service") == 4
    assert of("disk_free_bytes", path="/") == 10
    assert of("oom_kills_total") == 1


def test_no_unit_no_text() -> None:
    assert metrics.text([]) == ""


@pytest.fixture
def collector(root_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = root_folder / "collector"
    folder.mkdir()
    setting = root_folder / "textfile-collector"
    monkeypatch.setattr(textfile, "SETTING", str(setting))
    setting.write_text(f"{folder}\n")
    return folder


def test_the_file_is_replaced_as_a_whole(collector: Path) -> None:
    for text in ("a 1\n", "a 2\n"):
        textfile.write(text)
        assert (collector / textfile.NAME).read_text() == text
    assert os.listdir(collector) == [textfile.NAME]
    assert (collector / textfile.NAME).stat().st_mode & 0o777 == 0o644
    textfile.remove()
    assert os.listdir(collector) == []


def test_it_is_not_written_unless_asked_for(collector: Path) -> None:
    os.unlink(textfile.SETTING)
    textfile.write("a 1\n")
    textfile.remove()
    assert os.listdir(collector) == []


def test_only_root_may_change_the_folder_and_the_way_to_it(collector: Path) -> None:
    os.chown(collector, 1, 1)
    with pytest.raises(OperationError, match="can be changed by users other than root"):
        textfile.write("a 1\n")
    os.chown(collector, 0, 0)
    os.chmod(collector.parent, 0o1777)
    with pytest.raises(OperationError, match="can be changed by users other than root"):
        textfile.write("a 1\n")
    assert os.listdir(collector) == []


@pytest.mark.parametrize("text", ["", "relative", "/nowhere/at/all", "/etc/passwd", "/a\n/b"])
def test_a_setting_that_names_no_folder(collector: Path, text: str) -> None:
    Path(textfile.SETTING).write_text(text)
    with pytest.raises(OperationError):
        textfile.write("a 1\n")


def test_a_link_of_another_user_is_not_followed(collector: Path) -> None:
    place = collector / textfile.NAME
    target = collector / "target"
    target.write_text("x")
    os.symlink(target, place)
    textfile.write("a 1\n")
    assert target.read_text() == "x"
    assert not place.is_symlink()


def test_the_page_names_each_metric() -> None:
    rows = re.findall(r"^\| `celeriac_(\w+)` \| (\w+) \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    assert rows == [(each.name, each.kind, each.help.rstrip(".")) for each in metrics.METRICS]
