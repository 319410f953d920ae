"""The words of the pages: each is explained, in one place, for the pages, the report and the docs alike."""

import re

import pytest
from fastapi.testclient import TestClient
from support.dashboard import words
from support.dashboard_pages import PAGES
from support.documents import REPO

from trainer.dashboard.loop import WatchedLoop
from trainer.dashboard.pages import HERE, templates
from trainer.dashboard.report import render
from trainer.dashboard.terms import TERMS

SOURCES = {path.name: path.read_text() for path in (HERE / "templates").glob("*.html")}
USED = {name for text in SOURCES.values() for name in re.findall(r'\bterm\("([^"]+)"', text)}


def shown(sentence: str, **context: object) -> str:
    return templates.env.from_string("{{ sentence | with_terms }}").render(sentence=sentence, **context)


def explained(sentence: str) -> list[str]:
    """The words of a sentence that lead to the glossary."""
    return re.findall(r'<a class="term"[^>]*>(.*?)</a>', shown(sentence))


def test_every_term_of_a_template_is_in_the_glossary_and_every_entry_is_used() -> None:
    assert len(USED) > 15
    assert USED - TERMS.keys() == set()
    assert {name for name, term in TERMS.items() if not term.found_as} <= USED


def test_a_template_cannot_use_a_term_that_nobody_explains() -> None:
    with pytest.raises(KeyError, match="gradient"):
        templates.env.from_string('{{ term("gradient") }}').render()


def test_the_page_and_the_docs_have_the_same_text(client: TestClient) -> None:
    page = client.get("/glossary?project=1").text
    docs = (REPO / "docs" / "reference" / "glossary.md").read_text()
    entries = dict(part.split("\n", 1) for part in docs.split("\n## ")[1:])
    told = {name: " ".join(text.replace("`", "").split()) for name, text in entries.items()}
    assert list(told) == list(TERMS)
    for name, text in told.items():
        entry = page.split(f'id="{TERMS[name].anchor}"')[1].split("</div>")[0]
        assert " ".join(re.sub("<[^>]*>", "", f"<{entry}".replace("</dt>", " ")).split()) == (
            f"{name} {text}".replace("'", "&#39;")
        )


@pytest.mark.parametrize("path", PAGES)
def test_every_page_leads_to_it(client: TestClient, path: str) -> None:
    page = client.get(f"{path}?project=1").text
    assert '<a href="/glossary?project=1">What the words mean</a>' in page
    for address in re.findall(r'class="term" href="/glossary\?project=1#([^"]+)"', page):
        assert f'id="{address}"' in client.get("/glossary").text


def test_the_report_brings_it_along(loop: WatchedLoop) -> None:
    report = render(loop, 1)
    leads_to = set(re.findall(r'class="term" href="([^"]+)"', report))
    assert leads_to
    assert all(target.startswith("#") and f'id="{target[1:]}"' in report for target in leads_to)


@pytest.mark.parametrize(
    ("sentence", "terms"),
    [
        (
            "promoted v0002: 40.1 → 31.5 s to correct an image, on 41 hold-out images; mAP 0.411 → 0.535 "
            "(over 99 % sure that it is better)",
            ["promoted", "to correct an image", "hold-out", "mAP", "over 99 % sure"],
        ),
        (
            "promoted v0001: mAP 0.488 → 0.927; taken back: on 5 images labelled since, v0000 takes 2.2 s to "
            "correct one, v0001 15.4 s",
            ["promoted", "mAP", "taken back", "to correct one"],
        ),
        (  # as rounds of earlier releases have it
            "kept v0001: mAP 0.488 → 0.512 on 41 hold-out images may be chance (p=0.61, 0.80 needed)",
            ["kept", "mAP", "hold-out", "p=0.61"],
        ),
        ("mAP 0.073 on 41 hold-out images; there was no champion", ["mAP", "hold-out", "champion"]),
        ("5 new images, 30 in all, 6 of them held out", ["held out"]),
        ("the mAP of a hold-out, of mAP and hold-out", ["mAP", "hold-out"]),
        ("a map of the stakeholder-outing", []),
    ],
)
def test_sentences_of_rounds_are_explained_at_the_first_mention(sentence: str, terms: list[str]) -> None:
    assert explained(sentence) == terms
    assert words(shown(sentence)) == sentence


def test_a_sentence_is_text_and_no_markup() -> None:
    assert explained("<b>mAP</b> & more") == ["mAP"]
    assert "&lt;b&gt;" in shown("<b>mAP</b>") and "<b>" not in shown("<b>mAP</b>")
    assert shown("") == ""


def test_no_page_names_the_model_in_service_otherwise() -> None:
    """One name for one thing: the champion is for files and programs."""
    for name, text in SOURCES.items():
        prose = re.sub(r"\{[{%#].*?[}%#]\}|<[^>]*>", "", text, flags=re.DOTALL)
        assert not re.search(r"\bchampion\b|\bgate\b", prose, re.IGNORECASE), name
