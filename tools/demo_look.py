"""What people would check over SSH before and after a deploy: `name<TAB>value` lines."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import urllib.error
import urllib.request
from typing import Dict, Iterator, List, Tuple

UNIT = 'celery-worker.service'
DATABASE = '/root/slideshow/backend/batch_processing.db'
HEALTH = 'http://127.0.0.1/api/health'
NO_LIMIT = ('infinity', '0', '')


def show_unit() -> Dict[str, str]:
    text = subprocess.run(
        ['systemctl', 'show', UNIT], stdout=subprocess.PIPE, text=True, check=True
    )
    return dict(line.split('=', 1) for line in text.stdout.splitlines() if '=' in line)


def read(path: str) -> str:
    with open(path, encoding='utf-8', errors='replace') as file:
        return file.read()


def workers() -> Dict[int, Tuple[int, bool]]:
    """Process id of each Celery worker process: its parent, and whether it belongs to the unit."""
    found = {}
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            words = read(f'/proc/{pid}/cmdline').split('\0')
            if 'worker' in words and any(word.endswith('celery') for word in words):
                parent = int(re.findall(r'^PPid:\t(\d+)', read(f'/proc/{pid}/status'), re.M)[0])
                found[int(pid)] = (parent, UNIT in read(f'/proc/{pid}/cgroup'))
        except FileNotFoundError:
            continue
    return found


def memory(pids: Dict[int, Tuple[int, bool]]) -> int:
    """Bytes; memory that processes share is counted once."""
    rollups = ''.join(read(f'/proc/{pid}/smaps_rollup') for pid in pids)
    return sum(int(size) * 1024 for size in re.findall(r'^Pss:\s+(\d+) kB', rollups, re.M))


def swap() -> str:
    size = int(re.findall(r'SwapTotal:\s+(\d+)', read('/proc/meminfo'))[0]) * 1024
    return f'{size / 2**30:.1f} GiB' if size else 'none'


def limits(unit: Dict[str, str]) -> str:
    names = [name for name in ('MemoryHigh', 'MemoryMax') if unit.get(name) not in NO_LIMIT]
    return ', '.join(f'{name} {int(unit[name]) // 2**20} MiB' for name in names) or 'none'


def stop(unit: Dict[str, str]) -> str:
    how = 'waits for running tasks' if unit['KillMode'] == 'mixed' else 'kills running tasks'
    return f'{how} (KillMode={unit["KillMode"]}, {unit["TimeoutStopUSec"]})'


def stuck() -> str:
    database = sqlite3.connect(f'file:{DATABASE}?mode=ro', uri=True)
    tables = ('jobs', 'batches', 'batch_links')
    question = "SELECT count(*) FROM {} WHERE status = 'processing'"
    counts = [(database.execute(question.format(table)).fetchone()[0], table) for table in tables]
    return ', '.join(f'{count} {table}' for count, table in counts if count) or 'none'


def health() -> str:
    try:
        with urllib.request.urlopen(HEALTH, timeout=10) as answer:
            return str(answer.status)
    except urllib.error.HTTPError as error:
        return str(error.code)
    except OSError as error:
        return str(error)


def look() -> Iterator[Tuple[str, str]]:
    unit = show_unit()
    pids = workers()
    mains = [pid for pid, (parent, _) in pids.items() if parent not in pids]
    own = [pid for pid in mains if pids[pid][1]]
    children: List[int] = [pid for pid, (parent, _) in pids.items() if parent in own]
    watchdog = unit.get('WatchdogUSec', '0')
    yield 'swap', swap()
    yield 'swappiness', read('/proc/sys/vm/swappiness').strip()
    yield 'worker', f'{unit["ActiveState"]} ({unit["SubState"]}), Type={unit["Type"]}'
    yield 'its processes', f'{len(own)} main, {len(children)} in its pool'
    yield 'stray workers', str(len(mains) - len(own) or 'none')
    yield 'memory of workers', f'{memory(pids) // 2**20} MiB'
    yield 'memory limits', limits(unit)
    yield 'watchdog', 'none' if watchdog in NO_LIMIT else watchdog
    yield 'a stop', stop(unit)
    yield 'stuck rows', stuck()
    yield 'GET /api/health', health()


for name, value in look():
    print(f'{name}\t{value}')
