"""Files as one zip archive, sent as it is made."""

import asyncio
import io
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

CHUNK = 1 << 20


class Archive(StreamingResponse):
    """Files, and folders without what is in them, as one archive.

    check: called before each piece; an exception from it ends the answer. scratch: a folder to delete
    afterwards, also when the client disconnects early or never reads a byte.
    """

    def __init__(
        self, name: str, files: dict[str, Path], check: Callable[[], None], scratch: Path | None = None
    ) -> None:
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        super().__init__(_checked(_zipped(files), check), media_type="application/zip", headers=headers)
        self._scratch = scratch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            if self._scratch is not None:
                await asyncio.to_thread(shutil.rmtree, self._scratch, ignore_errors=True)


def _checked(pieces: Iterator[bytes], check: Callable[[], None]) -> Iterator[bytes]:
    for piece in pieces:
        check()
        yield piece


def _zipped(files: dict[str, Path]) -> Iterator[bytes]:
    """The archive in pieces, so that it is never whole in memory or on disk.

    Files are stored without compression, because weights and images are compressed already.
    """
    out = _Pipe()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, path in files.items():
            if path.is_dir():  # an empty side's folder has to be there, too
                archive.mkdir(name)
                continue
            with path.open("rb") as source, archive.open(name, "w", force_zip64=True) as target:
                while chunk := source.read(CHUNK):
                    target.write(chunk)
                    yield out.take()
    yield out.take()


class _Pipe(io.RawIOBase):
    """A file that keeps written bytes until they are taken."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._waiting += data
        return len(data)

    def take(self) -> bytes:
        taken = bytes(self._waiting)
        self._waiting.clear()
        return taken
