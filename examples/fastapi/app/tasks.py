from .store import database
from .worker import celery_app


@celery_app.task(bind=True)
def count_words(self, job_id, text):
    with database() as jobs:
        jobs.execute(
            "UPDATE jobs SET status = 'processing', task_id = ?, started_at = CURRENT_TIMESTAMP"
            " WHERE id = ?",
            (self.request.id, job_id),
        )
    words = len(text.split())
    with database() as jobs:
        jobs.execute(
            "UPDATE jobs SET status = 'completed', words = ?, completed_at = CURRENT_TIMESTAMP"
            " WHERE id = ?",
            (words, job_id),
        )
    return words
