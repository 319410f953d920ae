"""Small image files that ask for much memory."""

import struct
import zlib

# TIFF's tags, and the kinds of their values.
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _FORMAT = 256, 257, 258, 259, 262, 277, 339
_OFFSETS, _ROWS, _BYTES = 273, 278, 279
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES = 322, 323, 324, 325
_DEFLATE, _BLACK_IS_ZERO, _FLOAT = 8, 1, 3


def zeros(length: int) -> bytes:
    """So many zero bytes, deflated, without having them all at once."""
    packer = zlib.compressobj(1)
    chunk = bytes(1 << 20)
    packed = b"".join(packer.compress(chunk) for _ in range(length >> 20))
    return packed + packer.compress(bytes(length & 0xFFFFF)) + packer.flush()


def float_tiff(width: int, height: int) -> bytes:
    """Black, 32 bits a pixel, in one strip."""
    packed = zeros(4 * width * height)
    strip = {_OFFSETS: 8, _BYTES: len(packed), _ROWS: height}
    return _tiff({_WIDTH: width, _HEIGHT: height, _BITS: 32, _FORMAT: _FLOAT, **strip}, packed)


def tiled_tiff(side: int, tile: int) -> bytes:
    """Grey and black, side x side pixels, in the corner of one tile of tile x tile."""
    packed = zeros(tile * tile)
    tiles = {_TILE_WIDTH: tile, _TILE_HEIGHT: tile, _TILE_OFFSETS: 8, _TILE_BYTES: len(packed)}
    return _tiff({_WIDTH: side, _HEIGHT: side, _BITS: 8, **tiles}, packed)


def _tiff(tags: dict[int, int], packed: bytes) -> bytes:
    tags = {_COMPRESSION: _DEFLATE, _PHOTOMETRIC: _BLACK_IS_ZERO, _SAMPLES: 1, **tags}
    body = packed + b"\0" * (len(packed) % 2)
    rows = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    start = struct.pack("<I", 8 + len(body))
    return b"II*\0" + start + body + struct.pack("<H", len(tags)) + rows + bytes(4)
