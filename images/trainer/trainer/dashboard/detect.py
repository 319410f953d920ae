"""POST /detect: an image in, boxes out, for programs. Off until `make token` has made a token.

It asks for that token and for no login, and answers JSON alone. The version in service finds the boxes, by
way of the ML backend.
"""

import asyncio

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from trainer.dashboard.detection import Detection, Refused

router = APIRouter()

PATH = "/detect"
MAX_BYTES = 20 << 20
MAX_FORM_BYTES = MAX_BYTES + (1 << 16)
"""With what a form puts around the image."""
READ_S = 60.0
"""So long an image may take to arrive, since it takes a place."""
_NEVER_IMAGES = ("text/", "application/json")


@router.post(PATH)
async def detect(request: Request) -> JSONResponse:
    detection: Detection = request.app.state.parts.detection
    try:
        token = await run_in_threadpool(detection.admit, request.headers.get("Authorization", ""))
        with detection.place():  # before it is read: many large images at once would take all the memory
            try:
                image = await asyncio.wait_for(_image(request), READ_S)
            except TimeoutError as error:
                raise Refused(408, f"the image did not arrive within {READ_S:.0f} s") from error
            return JSONResponse(await run_in_threadpool(detection.boxes, token, image))
    except Refused as refused:
        return refused.answer()


async def _image(request: Request) -> bytes:
    """The bytes of the image: the body, or the first file of a form.

    Raises:
        Refused: 413, it is too large; 415, it says itself that it is no image; 400, the form cannot be read.
    """
    too_large = Refused(413, f"an image has at most {MAX_BYTES >> 20} MiB here")
    told = request.headers.get("Content-Length", "")
    if told.isdigit() and int(told) > MAX_FORM_BYTES:
        raise too_large
    kind = request.headers.get("Content-Type", "").lower()
    if kind.startswith(_NEVER_IMAGES):
        raise Refused(415, f"{kind.partition(';')[0]} is no image; send a JPEG, PNG, WebP, BMP, TIFF or GIF")
    try:
        if not kind.startswith("multipart/form-data"):
            image = await request.body()
        else:
            async with request.form(max_files=1, max_fields=8) as form:
                file = next((part for part in form.values() if isinstance(part, UploadFile)), None)
                image = b"" if file is None else await file.read()
    except HTTPException as error:
        raise too_large if error.status_code == 413 else Refused(400, str(error.detail)) from error
    if len(image) > MAX_BYTES:
        raise too_large
    if not image:
        raise Refused(415, "there is no image in the request: send its bytes, or a form with a file")
    return image
