"""The app's tasks.

Each takes the same three knobs, by argument or else by the worker's environment:
seconds (SLIDESHOW_SECONDS) of work, megabytes (SLIDESHOW_MEGABYTES) held meanwhile, and
failure (SLIDESHOW_FAILURE): error, rate-limit, or lost (the process that runs the task dies).
"""

from __future__ import annotations

import logging
import os
import signal
import time
from typing import Any, Dict, List, Optional

import store
from celery import chord, group
from celery_app import celery_app

log = logging.getLogger('slideshow')

PAGE_BYTES = 4096


class WorkError(Exception):
    """The work itself failed."""


class RateLimited(WorkError):
    """The external API refused: it takes 20 requests a minute."""


def work(
    task: Any, seconds: Optional[float], megabytes: Optional[int], failure: Optional[str]
) -> None:
    seconds = float(os.environ.get('SLIDESHOW_SECONDS', '0.2')) if seconds is None else seconds
    megabytes = int(os.environ.get('SLIDESHOW_MEGABYTES', '0')) if megabytes is None else megabytes
    failure = os.environ.get('SLIDESHOW_FAILURE', '') if failure is None else failure

    held = bytearray(megabytes * 1024 * 1024)
    for offset in range(0, len(held), PAGE_BYTES):
        held[offset] = 1  # an untouched page costs no memory
    time.sleep(seconds)
    if failure == 'error':
        raise WorkError('asked to fail')
    if failure == 'rate-limit':
        log.warning('HTTP 429 Too Many Requests from the image API')
        raise RateLimited('HTTP 429 Too Many Requests')
    if failure == 'lost' and not task.request.delivery_info.get('redelivered'):
        os.kill(os.getpid(), signal.SIGKILL)


@celery_app.task(bind=True, max_retries=3)
def process_job(
    self: Any,
    job_id: Optional[str] = None,
    seconds: Optional[float] = None,
    megabytes: Optional[int] = None,
    failure: Optional[str] = None,
) -> Dict[str, str]:
    """A single job; without an id it makes its own row."""
    job_id = job_id or self.request.id
    store.add_job(job_id)
    store.start('jobs', job_id, self.request.id)
    try:
        work(self, seconds, megabytes, failure)
    except RateLimited as error:
        if self.request.retries < self.max_retries:
            raise self.retry(exc=error, countdown=2) from error
        store.finish('jobs', job_id, 'failed', str(error))
        raise
    except Exception as error:
        store.finish('jobs', job_id, 'failed', str(error))
        raise
    store.finish('jobs', job_id, 'completed')
    return {'job_id': job_id, 'status': 'completed'}


@celery_app.task(bind=True)
def process_batch(
    self: Any,
    batch_id: str,
    seconds: Optional[float] = None,
    megabytes: Optional[int] = None,
    failure: Optional[str] = None,
) -> Dict[str, Any]:
    """Hands each link to a task of its own; finalize_batch follows the last of them."""
    batch = store.find('batches', batch_id)
    if batch is None:
        raise WorkError(f'no batch {batch_id}')
    store.start('batches', batch_id, None)
    if batch['job_id']:
        store.start('jobs', batch['job_id'], self.request.id)
    links = store.query(
        'SELECT id FROM batch_links WHERE batch_id = ? ORDER BY link_index', batch_id
    )
    if not links:
        finalize_batch.delay([], batch_id)
        return {'batch_id': batch_id, 'links': 0}
    knobs = {'seconds': seconds, 'megabytes': megabytes, 'failure': failure}
    chord(group(process_link.s(link['id'], **knobs) for link in links))(finalize_batch.s(batch_id))
    return {'batch_id': batch_id, 'links': len(links)}


@celery_app.task(bind=True, max_retries=3)
def process_link(
    self: Any,
    link_id: str,
    seconds: Optional[float] = None,
    megabytes: Optional[int] = None,
    failure: Optional[str] = None,
) -> Dict[str, str]:
    """One link of a batch. It reports its failure as a result: the batch goes on without it."""
    link = store.find('batch_links', link_id)
    if link is None:
        return {'link_id': link_id, 'status': 'gone'}
    store.start('batch_links', link_id, self.request.id)
    try:
        work(self, seconds, megabytes, failure)
        status, message = 'completed', None
    except RateLimited as error:
        if self.request.retries < self.max_retries:
            raise self.retry(exc=error, countdown=2) from error
        status, message = 'failed', str(error)
    except Exception as error:  # noqa: BLE001 - whatever it was stands in the row
        status, message = 'failed', str(error)
    store.finish('batch_links', link_id, status, message)
    store.mirror_links(link['batch_id'])
    if status == 'completed':
        for variation in store.query(
            'SELECT id FROM batch_variations WHERE batch_link_id = ?', link_id
        ):
            process_variation.delay(variation['id'])
    return {'link_id': link_id, 'status': status}


@celery_app.task
def finalize_batch(results: List[Dict[str, str]], batch_id: str) -> Dict[str, str]:
    """A batch fails only when every link of it failed."""
    failed = sum(1 for result in results if result['status'] != 'completed')
    status = 'failed' if results and failed == len(results) else 'completed'
    message = f'{failed} of {len(results)} links failed' if failed else None
    store.finish('batches', batch_id, status, message)
    store.mirror_links(batch_id)
    batch = store.find('batches', batch_id)
    if batch is not None and batch['job_id']:
        store.finish('jobs', batch['job_id'], status, message)
    return {'batch_id': batch_id, 'status': status}


@celery_app.task(bind=True)
def process_variation(self: Any, variation_id: str, seconds: Optional[float] = None) -> None:
    """One variation of a finished link."""
    store.start('batch_variations', variation_id, self.request.id)
    work(self, seconds, 0, '')
    store.finish('batch_variations', variation_id, 'completed')
