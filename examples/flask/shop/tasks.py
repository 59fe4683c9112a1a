from celery import shared_task
from flask import current_app


@shared_task
def greet(name):
    return f"{current_app.config['GREETING']}, {name}!"
