"""Who becomes an administrator, who is nobody any more, and what an invitation is good for."""

import re
from collections.abc import Callable

import requests
from integration.labelstudio.test_provisioning import state
from integration.support.labelstudio import NAMED_ADMIN, LabelStudio
from integration.support.people import PASSWORD_OF_ALL, Person, invitation, labeller, log_in, sign_up

ORGANISATION = 1


def may_change_projects(person: Person) -> bool:
    return person.patch("/api/projects/1", description="x").status_code == 200


ADMINS = """
import os
from django.utils import timezone
from labelloop.settings import Settings
from provisioner import account, database, django_app, template

database.copy_template(Settings().labelstudio_dir / "label_studio.sqlite3", template.template_path())
django_app.setup()
account.ensure_account(Settings())
from organizations.models import Organization, OrganizationMember
from users.models import User

organisation = Organization.objects.get()
for name in ("ann", "bob", "cem", "dot"):
    user = User.objects.create_user(email=f"{name}@example.org", password="x")
    organisation.add_user(user)
User.objects.filter(email="cem@example.org").update(is_superuser=True, is_staff=True)


def start(admins):
    os.environ["ADMINS"] = admins
    account.ensure_account(Settings())
    supers = User.objects.filter(is_superuser=True, is_staff=True).order_by("email")
    print("ADMINISTRATORS", *(user.email.partition("@")[0] for user in supers))


start("Ann@example.org,eve@example.org, dot@example.org")
start("bob@example.org")
User.objects.filter(email="bob@example.org").update(email="bobby@example.org")
start("bob@example.org")
start("cem@example.org,ann@example.org,admin@labelloop.local")
OrganizationMember.objects.update(deleted_at=timezone.now())
start("ann@example.org,dot@example.org")
print("MEMBERS", *(m.user.email for m in OrganizationMember.objects.filter(deleted_at__isnull=True)))
start("")
"""


def test_admins_are_made_and_unmade_by_the_setting(fresh: Callable[[], LabelStudio]) -> None:
    """cem was made one in Label Studio itself, until the setting names her and then no longer does."""
    assert [line for line in fresh().run_program(ADMINS).splitlines() if line.isprintable()][-7:] == [
        "ADMINISTRATORS admin ann cem dot",
        "ADMINISTRATORS admin bob cem",
        "ADMINISTRATORS admin cem",
        "ADMINISTRATORS admin ann cem",
        "ADMINISTRATORS admin",
        "MEMBERS admin@labelloop.local",
        "ADMINISTRATORS admin",
    ]


def test_a_name_in_admins_that_nobody_has_is_told_and_cannot_be_taken(provisioned: LabelStudio) -> None:
    assert state(provisioned)["unknown_admins"] == [NAMED_ADMIN]
    taken = sign_up(provisioned, NAMED_ADMIN.upper())
    assert taken.status_code == 403 and "ADMINS" in taken.text
    uninvited = sign_up(provisioned, NAMED_ADMIN, invitation(provisioned) + "x")
    assert uninvited.status_code == 403 and "ADMINS" not in uninvited.text
    assert NAMED_ADMIN not in str(provisioned.studio.request("GET", "/api/users/"))


def test_who_was_removed_is_let_in_nowhere(provisioned: LabelStudio) -> None:
    ann = labeller(provisioned, "removed@example.org")
    token = {"Authorization": f"Token {ann.get('/api/current-user/token').json()['token']}"}
    made = ann.post("/api/token").json()["token"]
    task = provisioned.studio.request(
        "POST", "/api/tasks", json={"project": 1, "data": {"image": "/data/local-files/?d=images/none.png"}}
    )
    annotation = ann.post(f"/api/tasks/{task['id']}/annotations", result=[]).json()["id"]
    member = f"/api/organizations/{ORGANISATION}/memberships/{ann.id}/"
    provisioned.studio.request("DELETE", member)

    again = log_in(provisioned, "removed@example.org", PASSWORD_OF_ALL)
    for person in (ann, again):
        for path in ("/api/projects", "/projects/", "/data/local-files/?d=images/none.png", "/user/account/"):
            answer = person.get(path)
            assert answer.status_code == 403 and "no longer a member" in answer.text, path
    access = requests.post(provisioned.url + "/api/token/refresh", json={"refresh": made}, timeout=30).json()
    bearer = {"Authorization": f"Bearer {access['access']}"}
    for headers in (token, bearer):
        for path in ("/api/projects", "/data/local-files/?d=images/none.png"):
            answer = requests.get(provisioned.url + path, headers=headers, timeout=30)
            assert answer.status_code == 403 and "no longer a member" in answer.text
    assert provisioned.studio.request("GET", f"/api/annotations/{annotation}")["id"] == annotation
    provisioned.studio.request("DELETE", f"/api/tasks/{task['id']}")


def test_a_deactivated_account_is_logged_out_and_its_tokens_are_void(provisioned: LabelStudio) -> None:
    ann, boss = labeller(provisioned, "inactive@example.org"), log_in(provisioned)
    token = {"Authorization": f"Token {ann.get('/api/current-user/token').json()['token']}"}
    page = f"/admin/users/user/{ann.id}/change/"
    set_active(boss, page, False)
    assert requests.get(provisioned.url + "/api/projects", headers=token, timeout=30).status_code == 401
    assert ann.get("/api/projects").status_code == 401
    set_active(boss, page, True)
    assert requests.get(provisioned.url + "/api/projects", headers=token, timeout=30).status_code == 200


def set_active(boss: Person, page: str, active: bool) -> None:
    """As an administrator does in Django's own form."""
    inputs = re.findall(r'<input type="(?:text|email|hidden)" name="(\w+)"([^>]*)', boss.get(page).text)
    values = {name: re.search('value="([^"]*)"', rest) for name, rest in inputs if not name.startswith("_")}
    form = {name: value[1] for name, value in values.items() if value}
    answer = boss.ask("POST", page, data=form | ({"is_active": "on"} if active else {}))
    assert answer.status_code == 302, answer.text


def test_an_invitation_that_was_reset_lets_nobody_in(provisioned: LabelStudio) -> None:
    ann, former = labeller(provisioned, "invited@example.org"), invitation(provisioned)
    for path in ("/api/invite", f"/api/organizations/{ORGANISATION}"):
        answer = ann.get(path)
        assert answer.status_code == 403 and former.partition("token=")[2] not in answer.text
    provisioned.studio.request("POST", "/api/invite/reset-token")
    assert sign_up(provisioned, "late@example.org", former).status_code == 403
    assert sign_up(provisioned, "late@example.org").status_code == 302


def test_nobody_makes_herself_an_administrator(provisioned: LabelStudio) -> None:
    ann = labeller(provisioned, "climber@example.org")
    ann.patch(f"/api/users/{ann.id}", is_superuser=True, is_staff=True, email="admin@labelloop.local")
    ann.ask("POST", "/user/account/", data={"is_superuser": "on", "is_staff": "on", "first_name": "A"})
    assert not may_change_projects(ann) and ann.get("/admin/").status_code == 403
    listed = {user["id"]: user for user in provisioned.studio.request("GET", "/api/users/")}
    assert listed[ann.id]["email"] == "climber@example.org"
