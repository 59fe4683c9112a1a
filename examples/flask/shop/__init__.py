import os

from celery import Celery, Task
from flask import Flask


def create_app() -> Flask:
    app = Flask(__name__)
    app.config["CELERY"] = {
        "broker_url": os.environ.get("BROKER_URL", "redis://127.0.0.1:6379/0"),
        "result_backend": os.environ.get("RESULT_BACKEND", "redis://127.0.0.1:6379/1"),
        "task_acks_late": True,
        "worker_prefetch_multiplier": 1,
    }
    app.config["GREETING"] = os.environ.get("GREETING", "Hello")
    app.config.from_prefixed_env()
    celery_init_app(app)

    from . import views

    app.register_blueprint(views.blueprint)
    return app


def celery_init_app(app: Flask) -> Celery:
    """Celery as Flask's documentation sets it up: every task runs in the app's context."""

    class FlaskTask(Task):
        def __call__(self, *args, **kwargs):
            with app.app_context():
                return self.run(*args, **kwargs)

    celery_app = Celery(app.name, task_cls=FlaskTask)
    celery_app.config_from_object(app.config["CELERY"])
    celery_app.set_default()
    app.extensions["celery"] = celery_app
    return celery_app
