"""A process that decodes what may end it; started and asked by `apart`, and of no use to anybody else."""

import json
import os
import sys
from typing import Any

from pydicom import Dataset, dcmread

LENGTH_BYTES = 8
# What decompressing changes besides the pixels themselves.
PIXEL_KEYWORDS = (
    "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PlanarConfiguration", "PhotometricInterpretation",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
)  # fmt: skip


def serve() -> None:
    """Answers each line, a path in hexadecimal digits, with two blocks: JSON that describes the pixels, the pixels.

    The JSON is {"error": kind} where they cannot be decoded. What decoders print goes nowhere.
    """
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        for line in sys.stdin.buffer:
            described, pixels = _decoded(os.fsdecode(bytes.fromhex(line.decode())))
            for block in (json.dumps(described).encode(), pixels):
                answers.write(len(block).to_bytes(LENGTH_BYTES, "little"))
                answers.write(block)
            answers.flush()


def _decoded(path: str) -> tuple[dict[str, Any], bytes]:
    try:
        dataset = dcmread(path, force=True)
        dataset.decompress(generate_instance_uid=False)
    except Exception as error:  # noqa: BLE001  (of the library: it is told to the one who asked)
        return {"error": type(error).__name__}, b""
    return _described(dataset), dataset.PixelData


def _described(dataset: Dataset) -> dict[str, Any]:
    found = {keyword: dataset.get(keyword) for keyword in PIXEL_KEYWORDS if keyword in dataset}
    return {keyword: int(value) if isinstance(value, int) else str(value) for keyword, value in found.items()}


if __name__ == "__main__":
    serve()
