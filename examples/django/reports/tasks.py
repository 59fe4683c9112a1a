from celery import shared_task
from django.utils import timezone

from .models import Report


@shared_task(bind=True)
def render_report(self, report_id):
    reports = Report.objects.filter(pk=report_id)
    reports.update(
        status=Report.Status.PROCESSING, task_id=self.request.id, started_at=timezone.now()
    )
    reports.update(status=Report.Status.COMPLETED, finished_at=timezone.now())
