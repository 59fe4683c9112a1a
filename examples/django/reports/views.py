from django.http import JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from .models import Report
from .tasks import render_report


@csrf_exempt
@require_POST
def create(request):
    report = Report.objects.create(title=request.POST.get("title", "Untitled"))
    render_report.delay(report.pk)
    return JsonResponse({"id": report.pk}, status=202)


def show(request, report_id):
    report = get_object_or_404(Report, pk=report_id)
    return JsonResponse({"id": report.pk, "title": report.title, "status": report.status})
