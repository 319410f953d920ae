"""Files as one zip archive, sent as it is made."""

import io
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator

from fastapi.responses import StreamingResponse

from trainer.dataset.exported_images import ExportedFile

PIECE = 1 << 18


class Archive(StreamingResponse):
    """Files and folders as one archive. Each is made when its turn comes, so nothing of it is kept.

    check: called before each piece; an exception from it ends the answer.
    """

    def __init__(self, name: str, files: Iterable[ExportedFile], check: Callable[[], None]) -> None:
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        super().__init__(_checked(_zipped(files), check), media_type="application/zip", headers=headers)


def _checked(pieces: Iterator[bytes], check: Callable[[], None]) -> Iterator[bytes]:
    for piece in pieces:
        check()
        yield piece


def _zipped(files: Iterable[ExportedFile]) -> Iterator[bytes]:
    """The archive in pieces, so that it is never whole in memory or on disk.

    Weights and images are stored as they are, because they are compressed already.
    """
    out = _Pipe()
    with zipfile.ZipFile(out, "w") as archive:
        for file in files:
            if file.content is None:  # an empty side's folder has to be there, too
                archive.mkdir(file.name)
                continue
            about = zipfile.ZipInfo(file.name, time.localtime()[:6])
            about.compress_type = zipfile.ZIP_STORED if file.packed else zipfile.ZIP_DEFLATED
            about.external_attr = 0o644 << 16
            with archive.open(about, "w", force_zip64=True) as target:
                for part in file.content:
                    target.write(part)
                    if out.waiting >= PIECE:
                        yield out.take()
            yield out.take()
    yield out.take()


class _Pipe(io.RawIOBase):
    """A file that keeps written bytes until they are taken."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    @property
    def waiting(self) -> int:
        """How many bytes."""
        return len(self._bytes)

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._bytes += data
        return len(data)

    def take(self) -> bytes:
        taken = bytes(self._bytes)
        self._bytes.clear()
        return taken
