"""Label Studio's URLs, less tips that come from the internet, a sign-up form nobody may send, its settings on
show, a page that anybody may have fail, and files outside volumes/images; and those that lead to the
dashboard, by which it asks who somebody is and hands in what was verified there, and by which the trainer
brings labels that exist.
"""

from core.middleware import enforce_csrf_checks
from core.urls import urlpatterns as label_studio_urls
from core.utils.common import collect_versions
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.urls import path, re_path
from organizations.models import Organization
from users.views import user_signup

from labelloop import addresses
from labelloop.settings import get_settings
from provisioner import dashboard, intake, parents, people, predictions, task_pages, verified
from provisioner.bucket_keys import SyncBucket
from provisioner.image_tasks import SyncImages
from provisioner.local_files import ImageFile
from provisioner.opened_tasks import CorrectAnnotation, OpenTask, SubmitAnnotation
from provisioner.start_training import StartTraining

parents.survive_them()

# Addresses are not verified: whoever came first under one that ADMINS names would be an administrator.
RESERVED = (
    "ADMINS names this address, so nobody may sign up under it. The operator takes it out of ADMINS, you "
    "sign up, and the operator puts it in again."
)


def no_tips(request: HttpRequest) -> HttpResponse:
    return JsonResponse({})


def versions(request: HttpRequest) -> HttpResponse:
    """Label Studio's own page shows a superuser every setting as well; the secret key is one."""
    return JsonResponse(collect_versions())


def not_here(request: HttpRequest) -> HttpResponse:
    raise Http404


@enforce_csrf_checks  # type: ignore[untyped-decorator]
def sign_up_by_invitation(request: HttpRequest) -> HttpResponse:
    """The form for whoever holds an invitation link; the login page for everyone else."""
    if request.method == "GET" and not request.GET.get("token"):
        return redirect("user-login")
    reserved = request.POST.get("email", "").strip().lower() in get_settings().admin_addresses
    # Who has no invitation is refused by Label Studio, and not told whom ADMINS names.
    if reserved and Organization.objects.filter(token=request.GET.get("token") or "").exists():
        return HttpResponse(RESERVED, "text/plain; charset=utf-8", 403)
    answer: HttpResponse = user_signup(request)
    return answer


urlpatterns = [
    path("heidi-tips/", no_tips, name="heidi_tips"),
    path("version/", versions, name="version"),
    re_path("trigger500/", not_here),
    path(addresses.DASHBOARD_PATH.strip("/"), dashboard.lead_there, name="labelloop-dashboard"),
    path("api/ml/<int:pk>/train", StartTraining.as_view(), name="labelloop-start-training"),
    path("labelloop/people/me", people.myself, name="labelloop-myself"),
    path("labelloop/people/<int:user_id>", people.somebody, name="labelloop-person"),
    path("labelloop/projects/<int:project_id>/intake", intake.take_in, name="labelloop-intake"),
    path("labelloop/projects/<int:project_id>/lacking", predictions.lacking, name="labelloop-lacking"),
    path("labelloop/projects/<int:project_id>/predictions", predictions.store, name="labelloop-predictions"),
    path("labelloop/projects/<int:project_id>/tasks", task_pages.listed, name="labelloop-tasks"),
    path("labelloop/projects/<int:project_id>/counts", task_pages.counted, name="labelloop-counts"),
    path("labelloop/projects/<int:project_id>/verified", verified.hand_in, name="labelloop-verified"),
    path("labelloop/projects/<int:project_id>/verified/undo", verified.take_back, name="labelloop-undo"),
    # Label Studio's own pattern, which matches anywhere in a path.
    re_path("data/local-files/", ImageFile.as_view(), name="localfiles_data"),
    path("api/storages/localfiles/<int:pk>/sync", SyncImages.as_view(), name="labelloop-sync-images"),
    path("api/storages/s3/<int:pk>/sync", SyncBucket.as_view(), name="labelloop-sync-bucket"),
    path("api/tasks/<int:pk>/", OpenTask.as_view(), name="labelloop-open-task"),
    path("api/tasks/<int:pk>/annotations/", SubmitAnnotation.as_view(), name="labelloop-submit"),
    path("api/annotations/<int:pk>/", CorrectAnnotation.as_view(), name="labelloop-correct"),
    path("user/signup/", sign_up_by_invitation, name="user-signup"),
    *label_studio_urls,
]
