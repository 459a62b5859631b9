"""A process that decodes what may end it; started and asked by `isolated_decoding`, and of no use to anybody else."""

import json
import os
import sys
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate, get_frame

LENGTH_BYTES = 8
# What decompressing changes besides the pixels themselves.
PIXEL_KEYWORDS = (
    "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PlanarConfiguration", "PhotometricInterpretation",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
)  # fmt: skip


def serve() -> None:
    """Answers each line with two blocks: JSON that describes the pixels, the pixels.

    A line is a path in hexadecimal digits and the frame that is wanted, -1 for all. The JSON is {"error": kind} where
    the pixels cannot be decoded. What decoders print goes nowhere.
    """
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        for line in sys.stdin.buffer:
            path, frame = line.decode().split()
            described, pixels = _decoded(os.fsdecode(bytes.fromhex(path)), int(frame))
            for block in (json.dumps(described).encode(), pixels):
                answers.write(len(block).to_bytes(LENGTH_BYTES, "little"))
                answers.write(block)
            answers.flush()


def _decoded(path: str, frame: int) -> tuple[dict[str, Any], bytes]:
    try:
        dataset = dcmread(path, force=True)
        if frame >= 0 and int(dataset.get("NumberOfFrames") or 1) > 1:
            _cut(dataset, frame)
        dataset.decompress(generate_instance_uid=False)
    except Exception as error:  # noqa: BLE001  (of the library: it is told to the one who asked)
        return {"error": type(error).__name__}, b""
    return _described(dataset), dataset.PixelData


def _cut(dataset: Dataset, frame: int) -> None:
    """Leaves one frame, so that the others take no time and no memory."""
    offsets = ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")
    extended = (dataset[offsets[0]].value, dataset[offsets[1]].value) if offsets[0] in dataset else None
    count = int(dataset.NumberOfFrames)
    only = get_frame(dataset.PixelData, frame, number_of_frames=count, extended_offsets=extended)
    for keyword in offsets:
        dataset.pop(keyword, None)
    dataset.PixelData, dataset.NumberOfFrames = encapsulate([only]), 1


def _described(dataset: Dataset) -> dict[str, Any]:
    found = {keyword: dataset.get(keyword) for keyword in PIXEL_KEYWORDS if keyword in dataset}
    return {keyword: int(value) if isinstance(value, int) else str(value) for keyword, value in found.items()}


if __name__ == "__main__":
    serve()
