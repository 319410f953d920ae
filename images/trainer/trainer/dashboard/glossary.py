"""The page that says what the words on the other pages mean."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from trainer.dashboard.pages import Asked, View
from trainer.dashboard.terms import TERMS

router = APIRouter()


def contents(page: View) -> dict[str, Any]:
    return {"terms": TERMS.values()}


@router.get("/glossary", response_class=HTMLResponse)
def show(page: Asked) -> HTMLResponse:
    return page.show("glossary.html", **contents(page))
