from celery.result import AsyncResult
from flask import Blueprint, request

from .tasks import greet

blueprint = Blueprint("greetings", __name__)


@blueprint.post("/greetings")
def create():
    result = greet.delay(request.form.get("name", "World"))
    return {"id": result.id}, 202


@blueprint.get("/greetings/<task_id>")
def show(task_id):
    result = AsyncResult(task_id)
    return {"state": result.state, "greeting": result.result if result.successful() else None}
