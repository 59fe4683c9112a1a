#!/bin/bash
# A Django project whose Celery keeps its results in the project's own database (django-db), run by
# deploy: nothing of it can be touched before Django is set up.
set -eu

project=/srv/shop

mkdir -p "$project"/{shop,orders}
cd "$project"
touch orders/__init__.py
echo "urlpatterns = []" >shop/urls.py

cat >manage.py <<'PYTHON'
import os
import sys

from django.core.management import execute_from_command_line

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
execute_from_command_line(sys.argv)
PYTHON

cat >shop/__init__.py <<'PYTHON'
from .celery import app as celery_app

__all__ = ("celery_app",)
PYTHON

cat >shop/celery.py <<'PYTHON'
import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
PYTHON

cat >shop/settings.py <<'PYTHON'
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = "for-a-throwaway-host"
ALLOWED_HOSTS = ["localhost"]
ROOT_URLCONF = "shop.urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django_celery_results", "orders"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": BASE_DIR / "db.sqlite3",
        "OPTIONS": {"timeout": 20},
    }
}

CELERY_BROKER_URL = "redis://127.0.0.1:6379/0"
CELERY_RESULT_BACKEND = "django-db"
CELERY_TASK_TRACK_STARTED = True
PYTHON

cat >orders/models.py <<'PYTHON'
from django.db import models


class Order(models.Model):
    customer = models.CharField(max_length=100)
    paid = models.BooleanField(default=False)
PYTHON

cat >orders/tasks.py <<'PYTHON'
from celery import shared_task

from .models import Order


@shared_task
def count_unpaid():
    return Order.objects.filter(paid=False).count()
PYTHON

export PYTHONDONTWRITEBYTECODE=1
python3 manage.py makemigrations --verbosity 0 orders
python3 manage.py migrate --verbosity 0
python3 manage.py shell --command "
from orders.models import Order
Order.objects.create(customer='Ada')
Order.objects.create(customer='Grace', paid=True)
"
chown -R deploy: "$project"

install_worker deploy "$project" '/usr/bin/celery -A shop worker --loglevel=info --concurrency=1'
