"""The admin's token follows the environment, address and password its changes."""

from collections.abc import Callable

import requests
from integration.labelstudio.test_pages import sign_in
from integration.support.labelstudio import EMAIL, LabelStudio

NEW_TOKEN = "fedcba9876543210fedcba9876543210fedcba98"


def test_changed_address_password_and_token_are_adopted_by_the_same_user(
    fresh: Callable[[], LabelStudio],
) -> None:
    label_studio = fresh().start()
    (before,) = label_studio.studio.request("GET", "/api/users/")
    former = label_studio.environment["API_TOKEN"]
    label_studio.stop()
    label_studio.environment |= {
        "ADMIN_EMAIL": "Boss@Example.org",
        "ADMIN_PASSWORD": "another horse 2",
        "API_TOKEN": NEW_TOKEN,
    }
    label_studio.start()
    (after,) = label_studio.studio.request("GET", "/api/users/")
    assert after["id"] == before["id"] and after["email"] == "boss@example.org"
    refused = requests.get(
        label_studio.url + "/api/users/", headers={"Authorization": f"Token {former}"}, timeout=30
    )
    assert refused.status_code == 401
    signed_in = sign_in(label_studio.url, email="boss@example.org", password="another horse 2")
    assert "/user/login" not in signed_in.url
    assert "/user/login" in sign_in(label_studio.url, email="boss@example.org").url


def test_without_its_secrets_label_studio_does_not_start(fresh: Callable[[], LabelStudio]) -> None:
    label_studio = fresh()
    del label_studio.environment["SECRET_KEY"]
    refused = label_studio.run("provisioner.serve", timeout=120)
    assert refused.returncode != 0 and "SECRET_KEY is not set" in refused.stderr


CHANGED_BY_A_PERSON = """
import os
from labelloop.settings import Settings
from provisioner import account, database, django_app, template

database.copy_template(Settings().labelstudio_dir / "label_studio.sqlite3", template.template_path())
django_app.setup()
from users.models import User


def start(**changed):
    os.environ.update(changed)
    account.ensure_account(Settings())
    user = User.objects.get()
    passwords = ("correct horse 1", "a person's own", "another horse 2")
    print(user.email, *(word for word in passwords if user.check_password(word)), sep="|")


start()
user = User.objects.get()
user.email = "me@example.org"
user.set_password("a person's own")
user.save()
start()
start(API_TOKEN="f" * 40)
start(ADMIN_PASSWORD="another horse 2")
start(ADMIN_EMAIL="boss@example.org")
"""


def test_what_a_person_changed_in_label_studio_stays_until_the_environment_changes(
    fresh: Callable[[], LabelStudio],
) -> None:
    assert fresh().run_program(CHANGED_BY_A_PERSON).splitlines() == [
        f"{EMAIL}|correct horse 1",
        "me@example.org|a person's own",
        "me@example.org|a person's own",
        "me@example.org|another horse 2",
        "boss@example.org|another horse 2",
    ]
