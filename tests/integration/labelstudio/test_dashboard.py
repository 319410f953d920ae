"""What the dashboard relies on in a real Label Studio: its login, and its record of annotations."""

from urllib.parse import urlsplit

import requests
from integration.support.labelstudio import EMAIL, PASSWORD, LabelStudio

from labelloop.labels import parse_label_config
from trainer.dashboard.ledger import measure
from trainer.dashboard.login import ask_label_studio
from trainer.dashboard.people import Person
from trainer.judging.effort import Work


def who(label_studio: LabelStudio, email: str, password: str) -> Person | None:
    """The person whom Label Studio lets in with them."""
    found = ask_label_studio(label_studio.url, email, password, label_studio.cookies)
    return found.person if found else None


def test_the_login_is_label_studios(provisioned: LabelStudio) -> None:
    admin = who(provisioned, EMAIL, PASSWORD)
    assert admin is not None and admin.email == EMAIL and admin.administrator
    assert who(provisioned, EMAIL, "wrong") is None
    assert who(provisioned, "nobody@example.org", PASSWORD) is None
    assert who(provisioned, "no address", "") is None


def relative(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.path}?{parts.query}"


def sign_up(provisioned: LabelStudio, email: str, password: str) -> None:
    """Makes a user as a person does who was sent an invitation."""
    invitation = provisioned.studio.request("GET", "/api/invite")["invite_url"]
    with requests.Session() as browser:
        browser.trust_env = False
        browser.get(f"{provisioned.url}{relative(invitation)}", timeout=30)
        form = {
            "email": email,
            "password": password,
            "csrfmiddlewaretoken": browser.cookies[provisioned.cookies.csrf],
        }
        signed_up = browser.post(f"{provisioned.url}{relative(invitation)}", data=form, timeout=30)
    assert signed_up.ok


def test_a_user_made_in_label_studio_can_log_in(provisioned: LabelStudio) -> None:
    email, password = "zoe@example.org", "battery staple 2"
    sign_up(provisioned, email, password)
    zoe = who(provisioned, email, password)
    assert zoe is not None and zoe.email == email and not zoe.administrator
    assert who(provisioned, email, "wrong") is None


def test_an_annotation_is_held_against_the_prediction_it_started_from(provisioned: LabelStudio) -> None:
    studio = provisioned.studio
    config = """<View><Image name="image" value="$image"/>
      <RectangleLabels name="label" toName="image"><Label value="ball"/></RectangleLabels></View>"""
    project = studio.request("POST", "/api/projects", json={"title": "effort", "label_config": config})

    def region(x: float) -> dict[str, object]:
        value = {"x": x, "y": 10, "width": 20, "height": 20, "rotation": 0, "rectanglelabels": ["ball"]}
        size = {"original_width": 640, "original_height": 480}
        return {"type": "rectanglelabels", "from_name": "label", "to_name": "image", "value": value} | size

    studio.request("POST", f"/api/projects/{project['id']}/import", json=[{"image": "/a.jpg"}])
    task = next(studio.iter_tasks(project["id"]))["id"]
    rows = [{"task": task, "result": [region(10), region(40)], "score": 0.5, "model_version": "v0001"}]
    studio.import_predictions(project["id"], rows)
    body = {"result": [region(10), region(43), region(75)], "lead_time": 12.5}
    studio.request("POST", f"/api/tasks/{task}/annotations", json=body)
    (effort,) = measure(
        list(studio.annotated_tasks(project["id"], predictions=True)), parse_label_config(config)
    )
    assert (effort.version, effort.work) == ("v0001", Work(accepted=1, adjusted=1, drawn=1))
    assert effort.lead_times == (12.5,)
