from django.urls import path
from reports.views import create, show

urlpatterns = [path("reports", create), path("reports/<int:report_id>", show)]
