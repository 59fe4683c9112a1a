"""The app's database: batch_processing.db, SQLite, beside the code."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import uuid
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

HERE = Path(__file__).resolve().parent
PATH = os.environ.get('SLIDESHOW_DATABASE', str(HERE / 'batch_processing.db'))
TABLES = ('jobs', 'batches', 'batch_links', 'batch_variations', 'video_jobs')


def now() -> str:
    """UTC without saying so: 2026-01-18T11:02:03.123456 (created_at has SQLite's own form)."""
    return datetime.now(timezone.utc).replace(tzinfo=None).isoformat()


def connect() -> sqlite3.Connection:
    database = sqlite3.connect(PATH, timeout=30, isolation_level=None)
    database.row_factory = sqlite3.Row
    database.execute('PRAGMA foreign_keys = ON')
    return database


@contextlib.contextmanager
def transaction() -> Iterator[sqlite3.Connection]:
    with contextlib.closing(connect()) as database:
        database.execute('BEGIN IMMEDIATE')
        try:
            yield database
        except BaseException:
            database.execute('ROLLBACK')
            raise
        database.execute('COMMIT')


def create() -> None:
    with contextlib.closing(connect()) as database:
        database.execute('PRAGMA journal_mode = WAL')
        database.executescript((HERE / 'schema.sql').read_text(encoding='utf-8'))


def query(sql: str, *values: Any) -> List[Dict[str, Any]]:
    with contextlib.closing(connect()) as database:
        return [dict(row) for row in database.execute(sql, values)]


def find(table: str, row_id: str) -> Optional[Dict[str, Any]]:
    rows = query(f'SELECT * FROM {known(table)} WHERE id = ?', row_id)
    return rows[0] if rows else None


def start(table: str, row_id: str, task_id: Optional[str]) -> None:
    """Marks a row as processing; batches have no task id of their own."""
    with transaction() as database:
        database.execute(
            f"UPDATE {known(table)} SET status = 'processing', started_at = ?,"
            ' completed_at = NULL, error_message = NULL WHERE id = ?',
            (now(), row_id),
        )
        if task_id is not None:
            database.execute(
                f'UPDATE {known(table)} SET celery_task_id = ? WHERE id = ?', (task_id, row_id)
            )


def finish(table: str, row_id: str, status: str, error: Optional[str] = None) -> None:
    with transaction() as database:
        database.execute(
            f'UPDATE {known(table)} SET status = ?, completed_at = ?, error_message = ?'
            ' WHERE id = ?',
            (status, now(), error, row_id),
        )


def known(table: str) -> str:
    if table not in TABLES:
        raise ValueError(f'no such table: {table}')
    return table


def add_job(job_id: str) -> None:
    with transaction() as database:
        database.execute(
            "INSERT OR IGNORE INTO jobs (id, job_type) VALUES (?, 'single')", (job_id,)
        )


def add_batch(links: List[str], variations: int) -> Dict[str, str]:
    """One job, its batch, their links and each link's variations, all pending."""
    job_id, batch_id = str(uuid.uuid4()), str(uuid.uuid4())
    with transaction() as database:
        database.execute(
            "INSERT INTO jobs (id, job_type, total_links, folder_name) VALUES (?, 'batch', ?, ?)",
            (job_id, len(links), f'batch-{batch_id[:8]}'),
        )
        database.execute(
            'INSERT INTO batches (id, total_links, job_id) VALUES (?, ?, ?)',
            (batch_id, len(links), job_id),
        )
        for index, url in enumerate(links):
            link_id = str(uuid.uuid4())
            database.execute(
                'INSERT INTO batch_links (id, batch_id, link_index, link_url) VALUES (?, ?, ?, ?)',
                (link_id, batch_id, index, url),
            )
            for number in range(1, variations + 1):
                database.execute(
                    'INSERT INTO batch_variations (id, batch_link_id, variation_num)'
                    ' VALUES (?, ?, ?)',
                    (str(uuid.uuid4()), link_id, number),
                )
    return {'batch_id': batch_id, 'job_id': job_id}


def count_links(batch_id: str) -> Dict[str, int]:
    counts = {'total': 0, 'pending': 0, 'processing': 0, 'completed': 0, 'failed': 0}
    for row in query(
        'SELECT status, count(*) AS n FROM batch_links WHERE batch_id = ? GROUP BY status', batch_id
    ):
        counts['total'] += row['n']
        counts[row['status']] = counts.get(row['status'], 0) + row['n']
    return counts


def mirror_links(batch_id: str) -> None:
    """The job's counters say what the batch's links say."""
    with transaction() as database:
        database.execute(
            'UPDATE jobs SET'
            ' completed_links = (SELECT count(*) FROM batch_links'
            "  WHERE batch_id = :batch AND status = 'completed'),"
            ' failed_links = (SELECT count(*) FROM batch_links'
            "  WHERE batch_id = :batch AND status = 'failed')"
            ' WHERE id = (SELECT job_id FROM batches WHERE id = :batch)',
            {'batch': batch_id},
        )
