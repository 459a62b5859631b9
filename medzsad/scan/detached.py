"""Where the voxels of a NRRD or MetaImage header lie, and whether they are whole, told before ITK follows the header.

Both formats let a header name any file on disk as its data. Here one plain file name beside the header is accepted
and nothing else; what cannot be parsed beyond doubt is refused, for the library might parse it differently. MetaIO,
the part of ITK that reads MetaImage, writes to file descriptor 2 where a header or its data is damaged, and has no
switch for it; so it is shown none.
"""

import os
import re
import zlib
from math import prod
from pathlib import Path

from medzsad.errors import ReasonCode, RefusedError
from medzsad.scan.guard import refusing
from medzsad.scan.names import shown_name

_MOST_HEADER_BYTES = 1024**2
_META_LINE = re.compile(rb"[ \t]*([^=:\r\n]+?)[ \t]*=([^\r\n]{0,400})\r?")  # MetaIO reads 500 bytes of a value
_META_DATA = b"ElementDataFile"
_META_INTERNAL = (b"LOCAL", b"Local", b"local")
_META_BYTES = {
    b"MET_CHAR": 1, b"MET_UCHAR": 1, b"MET_SHORT": 2, b"MET_USHORT": 2, b"MET_INT": 4, b"MET_UINT": 4, b"MET_LONG": 4,
    b"MET_ULONG": 4, b"MET_LONG_LONG": 8, b"MET_ULONG_LONG": 8, b"MET_FLOAT": 4, b"MET_DOUBLE": 8,
}  # fmt: skip
_META_ONCE = (b"NDims", b"DimSize", b"ElementType", b"ElementNumberOfChannels", b"HeaderSize", b"CompressedData")
_CHUNK_BYTES = 1024**2
_NRRD_END = re.compile(rb"\n\r?\n")


def data_file(path: Path, place: str) -> Path | None:
    """The file that holds the voxels of a NRRD or MetaImage header, or None if the header's own file does.

    Args:
        path: The header, by its ending .nrrd, .nhdr, .mha or .mhd.
        place: What messages call it.

    Raises:
        RefusedError: FILE_UNREADABLE: the data is not one file beside the header, is missing, or the header is
            no text.
    """
    if path.suffix.lower() in (".mha", ".mhd"):
        fields, _ = _meta_fields(path, place)
        stated = fields[_META_DATA]
        value = None if stated in _META_INTERNAL else stated
    else:
        value = _nrrd_value(_head(path, place), place)
    return None if value is None else _beside(path, value, place)


def check_meta_data(path: Path, detached: Path | None, place: str) -> None:
    """Refuses a MetaImage that holds less than its header promises.

    Args:
        path: The header.
        detached: From `data_file`.
        place: What messages call it.

    Raises:
        RefusedError: FILE_UNREADABLE.
    """
    fields, header_bytes = _meta_fields(path, place)
    sides = [int(side) for side in fields[b"DimSize"].split()]
    channels = int(fields.get(b"ElementNumberOfChannels", b"1"))
    needed = prod(sides) * channels * _META_BYTES[fields[b"ElementType"].removesuffix(b"_ARRAY")]
    start = header_bytes if detached is None else max(int(fields.get(b"HeaderSize", b"0")), 0)
    compressed = fields.get(b"CompressedData", b"").lower() in (b"true", b"1")
    file = detached or path
    with refusing(place):
        size = file.stat().st_size
    held = _inflated_bytes(file, start, needed, place) if compressed else size - start
    if held < needed:
        raise _refused(f"{place} holds {held} of the {needed} bytes that its header promises. Fetch it again.")


def _inflated_bytes(file: Path, start: int, needed: int, place: str) -> int:
    """How many bytes the data inflates to, counted no further than what is needed."""
    inflater, held = zlib.decompressobj(zlib.MAX_WBITS | 32), 0  # 32: zlib or gzip
    with refusing(place):
        stream = file.open("rb")
    with stream:
        stream.seek(start)
        while held <= needed:
            with refusing(place):
                chunk = inflater.unconsumed_tail or stream.read(_CHUNK_BYTES)
                piece = inflater.decompress(chunk, _CHUNK_BYTES)
            if not chunk:
                break
            held += len(piece)
    return held if inflater.eof else min(held, needed - 1)


def _head(path: Path, place: str) -> bytes:
    with refusing(place), path.open("rb") as stream:
        return stream.read(_MOST_HEADER_BYTES)


def _meta_fields(path: Path, place: str) -> tuple[dict[bytes, bytes], int]:
    """The fields of a MetaImage header, which ElementDataFile ends, checked for all that is needed; and its bytes."""
    fields: dict[bytes, bytes] = {}
    length = 0
    for line in _head(path, place).split(b"\n"):
        length += len(line) + 1
        if not line.strip():
            continue
        parts = _META_LINE.fullmatch(line)
        if (
            parts is None
            or line.count(_META_DATA) > (parts[1] == _META_DATA)
            or (parts[1] in fields and parts[1] in _META_ONCE)
        ):
            break
        fields[parts[1]] = parts[2].strip()
        if parts[1] == _META_DATA:
            if _is_whole(fields):
                return fields, length
            break
    raise _refused(
        f"{place} is not a MetaImage file whose header says where its voxels are. Check it or fetch it again."
    )


def _is_whole(fields: dict[bytes, bytes]) -> bool:
    """Whether the header tells sides and type of the voxels in numbers and words that MetaIO knows."""
    sides = fields.get(b"DimSize", b"").split()
    numbers = [fields.get(b"NDims", b""), *sides, fields.get(b"ElementNumberOfChannels", b"1")]
    known = fields.get(b"ElementType", b"").removesuffix(b"_ARRAY") in _META_BYTES
    header_size = re.fullmatch(rb"-?\d{1,15}", fields.get(b"HeaderSize", b"0"))
    return known and header_size is not None and all(n.isdigit() for n in numbers) and len(sides) == int(numbers[0])


def _nrrd_value(head: bytes, place: str) -> bytes | None:
    """The value of "data file"; a NRRD header ends with an empty line, or with the file if the data is elsewhere."""
    end = _NRRD_END.search(head)
    if end is None and len(head) == _MOST_HEADER_BYTES:
        raise _refused(f"{place} has a NRRD header of over {_MOST_HEADER_BYTES} bytes. Check it or fetch it again.")
    lines = head[: end.start() if end else None].splitlines()  # at a lone \r too: rather a line too many
    fields = [line.partition(b":") for line in lines]
    values = {value.strip() for name, _, value in fields if name.replace(b" ", b"").strip().lower() == b"datafile"}
    if len(values) > 1:
        raise _refused(f"{place} names {len(values)} data files. Write it as one .nrrd file.")
    return next(iter(values), None)


def _beside(header: Path, value: bytes, place: str) -> Path:
    special = value in (b"", b".", b"..", b"-") or value.upper().startswith(b"LIST")
    if special or len(value) > 255 or any(sign in value for sign in b"/\\:%\0\r\n"):
        raise _refused(
            f"{place} does not keep its voxels in one file beside it, and other files are not opened."
            " Write it as one file (.nrrd or .mha)."
        )
    file = header.with_name(os.fsdecode(value))
    if not file.is_file():
        raise _refused(f"{place} lacks its data file {shown_name(file.name)} beside it. Fetch it again.")
    with refusing(place), file.open("rb"):  # ITK would call it damaged where it may not be read
        return file


def _refused(message: str) -> RefusedError:
    return RefusedError(ReasonCode.FILE_UNREADABLE, message)
