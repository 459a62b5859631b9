"""Data sets with pixels that can be decoded safely: what only GDCM decodes is decoded in a process of its own.

On damaged pixels GDCM may end its process, and with it all other cases of a run.
"""

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from threading import Timer
from typing import IO, Any, Self

from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian

from medzsad.errors import ReasonCode, RefusedError
from medzsad.scan.dicom.decoding_process import LENGTH_BYTES
from medzsad.scan.dicom.headers import SliceHeader
from medzsad.scan.guard import refusing
from medzsad.scan.names import file_in

_COMMAND = ("-P", "-m", "medzsad.scan.dicom.decoding_process")
_MOST_SECONDS = 120.0  # for one file


def undecodable(transfer_syntax: str) -> str:
    """What is wrong with pixels of that transfer syntax, as the predicate of a sentence."""
    return f"has pixels that cannot be decoded (transfer syntax {transfer_syntax or 'not given'})"


class DatasetReader:
    """Reads data sets for decoding, inside a `with` block; the process is started when the first one needs it."""

    def __init__(self, place: str, transfer_syntax: str) -> None:
        """Reads the files of one series.

        Args:
            place: What messages call it.
            transfer_syntax: Its name.
        """
        self._place = place
        self._problem = undecodable(transfer_syntax)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def read(self, header: SliceHeader, *, alone: bool = False) -> Dataset:
        """The data set of a file, with its pixels as they are or, where only GDCM decodes them, decoded.

        Args:
            header: A slice of the file.
            alone: Whether of all frames of the file only that of the slice is wanted; it may be the only one then.

        Raises:
            RefusedError: PIXELS_NOT_DECODABLE.
        """
        place = file_in(self._place, header.file)
        with refusing(place, ReasonCode.PIXELS_NOT_DECODABLE, self._problem):
            dataset = dcmread(header.file, force=True)
        if not header.decoded_apart:
            return dataset
        described, pixels = self._answer(header.file, header.frame if alone else -1)
        if "error" in described:
            message = f"{place} {self._problem} ({described['error']}). Check it or fetch it again."
            raise RefusedError(ReasonCode.PIXELS_NOT_DECODABLE, message)
        for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
            dataset.pop(keyword, None)
        for keyword, value in described.items():
            setattr(dataset, keyword, value)
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.PixelData = pixels
        dataset["PixelData"].VR = "OB" if dataset.BitsAllocated <= 8 else "OW"
        dataset["PixelData"].is_undefined_length = False
        return dataset

    def _answer(self, file: Path, frame: int) -> tuple[dict[str, Any], bytes]:
        if self._process is None:
            with refusing(self._place, ReasonCode.PIXELS_NOT_DECODABLE, self._problem):
                self._process = _started()
        process = self._process
        timer = Timer(_MOST_SECONDS, process.kill)
        timer.start()
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            with suppress(OSError):  # it is gone, which the answer will show
                process.stdin.write(f"{os.fsencode(file.absolute()).hex()} {frame}\n".encode())
                process.stdin.flush()
            described, pixels = _block(process.stdout), _block(process.stdout)
        finally:
            timer.cancel()
        if described is None or pixels is None:
            message = (
                f"{file_in(self._place, file)} {self._problem}: they ended their decoder. Check it or fetch it again."
            )
            raise RefusedError(ReasonCode.PIXELS_NOT_DECODABLE, message)
        return json.loads(described), pixels


def _started() -> subprocess.Popen[bytes]:
    paths = os.pathsep.join(path for path in sys.path if path)
    return subprocess.Popen(
        [sys.executable, *_COMMAND],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": paths},
    )


def _block(stream: IO[bytes]) -> bytes | None:
    """The next block of an answer, or None if it did not come whole."""
    start = stream.read(LENGTH_BYTES)
    length = int.from_bytes(start, "little")
    block = stream.read(length)
    return block if len(start) == LENGTH_BYTES and len(block) == length else None
