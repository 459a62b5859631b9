"""Where the voxels of a NRRD or MetaImage header lie, told before a format library follows the header anywhere.

Both formats let a header name any file on disk as its data. Here one plain file name beside the header is accepted
and nothing else; what cannot be parsed beyond doubt is refused, for the library might parse it differently.
"""

import os
import re
from pathlib import Path

from medzsad.errors import ReasonCode, RefusedError
from medzsad.scan.names import shown_name

_MOST_HEADER_BYTES = 1024**2
_META_LINE = re.compile(rb"[ \t]*([^=:\r\n]+?)[ \t]*=([^\r\n]{0,400})\r?")  # MetaIO reads 500 bytes of a value
_META_DATA = b"ElementDataFile"
_META_INTERNAL = (b"LOCAL", b"Local", b"local")
_NRRD_END = re.compile(rb"\n\r?\n")


def data_file(path: Path, place: str) -> Path | None:
    """The file that holds the voxels of a NRRD or MetaImage header, or None if the header's own file does.

    Args:
        path: The header, by its ending .nrrd, .nhdr, .mha or .mhd.
        place: What messages call it.

    Raises:
        RefusedError: FILE_UNREADABLE: the data is not one file beside the header, is missing, or the header is
            no text.
        OSError: The header cannot be read.
    """
    with path.open("rb") as stream:
        head = stream.read(_MOST_HEADER_BYTES)
    value = _meta_value(head, place) if path.suffix.lower() in (".mha", ".mhd") else _nrrd_value(head, place)
    return None if value is None else _beside(path, value, place)


def _meta_value(head: bytes, place: str) -> bytes | None:
    """The value of ElementDataFile, which ends a MetaImage header."""
    for line in head.split(b"\n"):
        if not line.strip():
            continue
        parts = _META_LINE.fullmatch(line)
        if parts is None or line.count(_META_DATA) > (parts[1] == _META_DATA):
            break
        if parts[1] == _META_DATA:
            value = parts[2].strip()
            return None if value in _META_INTERNAL else value
    raise _refused(f"{place} is no MetaImage whose header tells where its voxels are. Check it or fetch it again.")


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
    return file


def _refused(message: str) -> RefusedError:
    return RefusedError(ReasonCode.FILE_UNREADABLE, message)
