import uuid
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from .store import create, database
from .tasks import count_words


@asynccontextmanager
async def lifespan(_: FastAPI):
    create()
    yield


app = FastAPI(lifespan=lifespan)


class Text(BaseModel):
    text: str


@app.get("/health")
def health():
    return {"status": "ok"}


@app.post("/jobs", status_code=202)
def submit(body: Text):
    job_id = str(uuid.uuid4())
    with database() as jobs:
        jobs.execute("INSERT INTO jobs (id) VALUES (?)", (job_id,))
    count_words.delay(job_id, body.text)
    return {"id": job_id}


@app.get("/jobs/{job_id}")
def show(job_id: str):
    with database() as jobs:
        row = jobs.execute("SELECT id, status, words FROM jobs WHERE id = ?", (job_id,)).fetchone()
    if row is None:
        raise HTTPException(status_code=404)
    return dict(row)
