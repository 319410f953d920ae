"""Behind a proxy that speaks TLS: a browser's form comes from PUBLIC_URL, and from nowhere else."""

import re

import pytest
import requests
from integration.support.labelstudio import EMAIL, PASSWORD, LabelStudio


def log_in(label_studio: LabelStudio, origin: str) -> int:
    """The status of the login form, sent as the proxy hands it on: under the public name, without TLS."""
    with requests.Session() as browser:
        page = browser.get(f"{label_studio.url}/user/login/", timeout=20)
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert token is not None
        form = {"csrfmiddlewaretoken": token[1], "email": EMAIL, "password": PASSWORD}
        headers = {"Origin": origin, "Host": "labels.example"}
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in browser.cookies)
        answer = browser.post(
            f"{label_studio.url}/user/login/",
            data=form,
            headers={**headers, "Cookie": cookies},
            allow_redirects=False,
            timeout=20,
        )
        return answer.status_code


@pytest.mark.parametrize(
    ("origin", "status"), [("https://labels.example", 302), ("https://elsewhere.example", 403)]
)
def test_a_form_comes_from_the_public_address_alone(
    provisioned: LabelStudio, origin: str, status: int
) -> None:
    assert log_in(provisioned, origin) == status
