"""Settings of the Celery app."""

from __future__ import annotations

import os

from kombu import Queue

broker_url = os.environ.get('SLIDESHOW_BROKER', 'redis://127.0.0.1:6379/0')
result_backend = broker_url

task_serializer = 'json'
result_serializer = 'json'
accept_content = ['json']
timezone = 'UTC'
enable_utc = True

task_queues = [Queue(name, routing_key=name) for name in ('celery', 'batch', 'links', 'variations')]
task_default_queue = 'celery'
task_routes = {
    'tasks.process_job': {'queue': 'celery'},
    'tasks.process_batch': {'queue': 'batch'},
    'tasks.finalize_batch': {'queue': 'batch'},
    'tasks.process_link': {'queue': 'links'},
    'tasks.process_variation': {'queue': 'variations'},
}

task_acks_late = True
task_reject_on_worker_lost = True
worker_prefetch_multiplier = 1
task_soft_time_limit = 900
