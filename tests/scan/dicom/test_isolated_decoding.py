"""What GDCM alone decodes is decoded in another process: its death costs one case, and no voxel changes."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import pydicom
import pytest

from medzsad.config import make_config
from medzsad.errors import ReasonCode, RefusedError
from medzsad.run.batch import RunOrder, run_cases
from medzsad.scan.dicom import isolated_decoding as apart
from medzsad.scan.discover import discover
from medzsad.scan.reader import read_scan
from medzsad.scan.records import ReadLimits, Scan
from medzsad.volume.records import Outcome
from tests.detectors import BrightnessDetector
from tests.phantoms import one_slice_dataset, phantom_scan, write_dicom_series

LIMITS = ReadLimits(allow_irregular=True)
SHAPE = (32, 40, 5)


def _compress(file: Path) -> None:
    gdcm = pytest.importorskip("gdcm")
    reader = gdcm.ImageReader()
    reader.SetFileName(str(file))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(f"{file}.gdcm")
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    # Of what GDCM wrote the pixels alone, for it changes other tags as well.
    dataset, written = pydicom.dcmread(file), pydicom.dcmread(f"{file}.gdcm")
    dataset.file_meta.TransferSyntaxUID = written.file_meta.TransferSyntaxUID
    dataset.PixelData = written.PixelData
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(file)
    Path(f"{file}.gdcm").unlink()


def _both(tmp_path: Path, edit: dict[str, object] | None = None, **options: object) -> tuple[Scan, Scan]:
    """The same series, read uncompressed and as JPEG Lossless."""
    scans = []
    for folder in (tmp_path / "plain", tmp_path / "packed"):
        write_dicom_series(folder, phantom_scan(SHAPE), **options)  # type: ignore[arg-type]
        for file in folder.iterdir():
            dataset = pydicom.dcmread(file)
            for keyword, value in (edit or {}).items():
                setattr(dataset, keyword, value)
            dataset.save_as(file)
            if folder.name == "packed":
                _compress(file)
        (candidate,) = discover([folder], limits=LIMITS)
        scans.append(read_scan(candidate, LIMITS))
    return scans[0], scans[1]


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    write_dicom_series(tmp_path / "scans" / "packed", phantom_scan(SHAPE), uid_seed="packed")
    for file in (tmp_path / "scans" / "packed").iterdir():
        _compress(file)
    return tmp_path / "scans" / "packed"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The processes that were started; all of them must have ended."""
    processes: list[subprocess.Popen[bytes]] = []
    real = apart._started

    def noted() -> subprocess.Popen[bytes]:
        processes.append(real())
        return processes[-1]

    monkeypatch.setattr(apart, "_started", noted)
    yield processes
    assert all(process.returncode is not None for process in processes)


def _read(folder: Path) -> Scan:
    (candidate,) = discover([folder], limits=LIMITS)
    return read_scan(candidate, LIMITS)


@pytest.mark.parametrize(
    ("options", "edit"),
    [
        ({}, {}),
        ({"multiframe": True}, {}),
        ({"drop_slice": 2}, {}),
        ({"monochrome1": True}, {}),
        ({"rescale": (1.0, -1024.0)}, {"PixelRepresentation": 1}),
        ({"tilt_degrees": 12.0}, {}),
    ],
    ids=["regular", "multiframe", "gap", "monochrome1", "signed", "tilted"],
)
def test_decoding_apart_changes_no_voxel(
    tmp_path: Path,
    started: list[subprocess.Popen[bytes]],
    options: dict[str, object],
    edit: dict[str, object],
) -> None:
    plain, packed = _both(tmp_path, edit, **options)
    np.testing.assert_array_equal(packed.voxels, plain.voxels)
    np.testing.assert_array_equal(packed.affine_ras, plain.affine_ras)
    assert len(started) == 1


def test_of_a_film_only_the_chosen_frame_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (3, 10, 14), dtype=np.uint8)
    dataset = one_slice_dataset(frames[0])
    dataset.NumberOfFrames, dataset.PixelData = 3, frames.tobytes()
    dataset.save_as(tmp_path / "film.dcm", enforce_file_format=True)
    _compress(tmp_path / "film.dcm")
    assert pydicom.dcmread(tmp_path / "film.dcm").NumberOfFrames == 3
    answered: list[int] = []
    real = apart._block

    def block(stream: IO[bytes]) -> bytes | None:
        answer = real(stream)
        answered.append(len(answer or b""))
        return answer

    monkeypatch.setattr(apart, "_block", block)
    for frame in range(3):
        (candidate,) = discover([tmp_path], limits=LIMITS, frame=frame)
        np.testing.assert_array_equal(read_scan(candidate, LIMITS).voxels[:, :, 0].T, frames[frame])
    assert answered[1::2] == [frames[0].size] * 3


def test_no_process_is_started_for_pixels_that_others_decode(
    tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    write_dicom_series(tmp_path / "s", phantom_scan(SHAPE), transfer_syntax=pydicom.uid.RLELossless)
    assert _read(tmp_path / "s").shape == SHAPE
    assert started == []


# The death comes with the first file, or after half an answer to it.
@pytest.mark.parametrize(
    "program",
    [
        "import os; os.abort()",
        "import os, sys; sys.stdin.readline(); os.write(1, (99).to_bytes(8, 'little')); os.kill(os.getpid(), 9)",
    ],
    ids=["first", "half"],
)
def test_a_decoder_that_ends_its_process_costs_its_case_alone(
    packed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    started: list[subprocess.Popen[bytes]],
    program: str,
) -> None:
    monkeypatch.setattr(apart, "_COMMAND", ("-c", program))
    write_dicom_series(packed.with_name("plain"), phantom_scan(SHAPE), uid_seed="plain")
    order = RunOrder((packed.parent,), tmp_path / "out", make_config({"threshold": 0.75, "window": "0,1000"}))
    records = {record.input.label: record for record in run_cases(order, detector=BrightnessDetector(size=32)).records}
    assert {label: record.outcome for label, record in records.items()} == {
        "packed": Outcome.REFUSED,
        "plain": Outcome.LESION,
    }
    assert records["packed"].code == ReasonCode.PIXELS_NOT_DECODABLE
    assert "JPEG Lossless" in records["packed"].message
    assert "ended their decoder" in records["packed"].message
    assert len(started) == 1


def test_a_decoder_that_does_not_come_back_is_ended(
    packed: Path, monkeypatch: pytest.MonkeyPatch, started: list[subprocess.Popen[bytes]]
) -> None:
    monkeypatch.setattr(apart, "_COMMAND", ("-c", "import time; time.sleep(600)"))
    monkeypatch.setattr(apart, "_MOST_SECONDS", 0.2)
    with pytest.raises(RefusedError, match="ended their decoder"):
        _read(packed)
    assert len(started) == 1


def test_damaged_pixels_are_refused_with_what_the_decoder_raised(
    packed: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    file = packed / "0003.dcm"
    whole = file.read_bytes()
    start = whole.rindex(b"\xff\xd8")
    file.write_bytes(whole[:start] + bytes(len(whole) - start - 8) + whole[-8:])
    with pytest.raises(RefusedError, match=r"cannot be decoded \(transfer syntax JPEG Lossless") as refused:
        _read(packed)
    assert refused.value.code == ReasonCode.PIXELS_NOT_DECODABLE
    assert len(started) == 1


def test_the_process_imports_what_this_one_does_and_loads_no_model() -> None:
    code = "import sys, medzsad.scan.dicom.decoding_process; print('torch' in sys.modules, 'highdicom' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
