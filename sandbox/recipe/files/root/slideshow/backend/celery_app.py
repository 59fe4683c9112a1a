"""The Celery app: `celery -A celery_app worker`."""

from __future__ import annotations

from celery import Celery

celery_app = Celery('slideshow', include=['tasks'])
celery_app.config_from_object('celery_config')
