import os

from celery import Celery

celery_app = Celery(
    "app",
    broker=os.environ.get("BROKER_URL", "redis://127.0.0.1:6379/0"),
    backend=os.environ.get("RESULT_BACKEND", "redis://127.0.0.1:6379/1"),
    include=["app.tasks"],
)
celery_app.conf.update(task_acks_late=True, worker_prefetch_multiplier=1)
