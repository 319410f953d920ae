"""Links from the dashboard into Label Studio's pages. Whether Label Studio reads them so is asked of its own
page, in tests/integration/labelstudio/test_labelling_page.py.
"""

import base64
import gzip
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fastapi.testclient import TestClient
from support.fake_studio import FakeStudio

from trainer.dashboard.studio_links import labelled, stream, waiting

DATA = "http://testserver:8080/projects/1/data"


def tab(url: str) -> dict[str, Any]:
    """The tab in an address, as Label Studio's page unpacks it."""
    (packed,) = parse_qs(urlsplit(url).query)["tab"]
    view: dict[str, Any] = json.loads(
        gzip.decompress(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)))
    )
    return view


def test_the_stream_has_neither_filter_nor_order_which_would_take_the_projects_place() -> None:
    link = stream(DATA)
    assert parse_qs(urlsplit(link).query)["labeling"] == ["1"]
    assert tab(link)["filters"]["items"] == tab(link)["ordering"] == []


def test_counts_lead_to_the_images_that_they_count() -> None:
    for link, operator in ((waiting(DATA), "equal"), (labelled(DATA), "greater")):
        assert tab(link)["filters"] == {
            "conjunction": "and",
            "items": [
                {
                    "filter": "filter:tasks:total_annotations",
                    "operator": operator,
                    "type": "Number",
                    "value": 0,
                }
            ],
        }
        assert "labeling" not in link


def test_an_address_stays_the_same() -> None:
    """A page that is fetched again is the same page."""
    assert waiting(DATA) == waiting(DATA)


def test_the_first_page_leads_into_the_stream_and_to_the_images(
    client: TestClient, labeller: TestClient, fake_studio: FakeStudio
) -> None:
    fake_studio.add_task()
    for browser in (client, labeller):
        page = browser.get("/?project=1").text.replace("&amp;", "&")
        assert f'href="{stream(DATA)}">Label now</a>' in page
        assert f'href="{waiting(DATA)}">' in page and f'href="{labelled(DATA)}">' in page
