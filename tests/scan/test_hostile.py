"""Damaged files of every format end in a RefusedError or in a scan, and in nothing else."""

import logging
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from PIL import Image
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from medzsad.errors import ReasonCode, RefusedError
from medzsad.scan.discover import discover
from medzsad.scan.guard import refusing
from medzsad.scan.reader import read_scan
from medzsad.scan.records import ReadLimits
from tests.phantoms import SECRET_ID, SECRET_NAME, phantom_scan, write_dicom_series, write_nifti

LIMITS = ReadLimits(max_voxels=10**6, allow_irregular=True)
PHANTOM = phantom_scan((36, 40, 4))


def first_file(folder: Path, **options: object) -> bytes:
    write_dicom_series(folder, PHANTOM, **options)  # type: ignore[arg-type]
    return min(folder.iterdir()).read_bytes()


def nifti_file(folder: Path, name: str) -> bytes:
    write_nifti(folder / name, PHANTOM)
    return (folder / name).read_bytes()


def picture_file(folder: Path, name: str) -> bytes:
    Image.fromarray(PHANTOM.scan.voxels[:, :, 2].astype(np.uint8)).save(folder / name)
    return (folder / name).read_bytes()


def itk_file(folder: Path, name: str) -> bytes:
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(PHANTOM.scan.voxels), str(folder / name))
    return (folder / name).read_bytes()


FORMATS: dict[str, Callable[[Path], bytes]] = {
    "plain.dcm": first_file,
    "enhanced.dcm": lambda folder: first_file(folder, multiframe=True),
    "rle.dcm": lambda folder: first_file(folder, transfer_syntax=RLELossless),
    "j2k.dcm": lambda folder: first_file(folder, transfer_syntax=JPEG2000Lossless),
    "a.nii": lambda folder: nifti_file(folder, "a.nii"),
    "a.nii.gz": lambda folder: nifti_file(folder, "a.nii.gz"),
    "a.png": lambda folder: picture_file(folder, "a.png"),
    "a.tif": lambda folder: picture_file(folder, "a.tif"),
    "a.jpg": lambda folder: picture_file(folder, "a.jpg"),
    "a.nrrd": lambda folder: itk_file(folder, "a.nrrd"),
    "a.mha": lambda folder: itk_file(folder, "a.mha"),
}


def attempt(path: Path) -> list[str]:
    """Sentences of the refusals of one file; anything but a refusal escapes."""
    sentences = []
    for candidate in discover([path], limits=LIMITS):
        try:
            scan = read_scan(candidate, LIMITS)
            assert np.isfinite(scan.voxels).all()
            assert np.isfinite(scan.affine_ras).all()
        except RefusedError as error:
            sentences.append(str(error))
    for sentence in sentences:
        assert sentence.endswith(".")
        assert "Traceback" not in sentence
        assert SECRET_NAME not in sentence
        assert SECRET_ID not in sentence
    return sentences


@pytest.mark.parametrize("name", FORMATS)
def test_cut_files_are_refused_at_any_length(tmp_path: Path, name: str) -> None:
    (tmp_path / "whole").mkdir()
    whole = FORMATS[name](tmp_path / "whole")
    path = tmp_path / name
    path.write_bytes(whole)
    assert attempt(path) == []
    for kept in sorted({0, 1, 4, 100, 131, 132, 140, 200, 348, 352, *np.linspace(1, len(whole) - 40, 12).astype(int)}):
        path.write_bytes(whole[:kept])
        assert len(attempt(path)) == 1, f"{kept} of {len(whole)} bytes"


@pytest.mark.parametrize("name", FORMATS)
def test_files_with_changed_bytes_raise_nothing_but_refusals(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "whole").mkdir()
    whole = np.frombuffer(FORMATS[name](tmp_path / "whole"), np.uint8)
    random = np.random.default_rng(list(name.encode()))
    caplog.set_level(logging.DEBUG)
    for number in range(12):
        changed = whole.copy()
        reach = len(changed) if number % 3 == 0 else min(len(changed), 1500)  # mostly headers
        where = random.integers(0, reach, size=1 + 3 * number)
        changed[where] = random.integers(0, 256, size=len(where))
        path = tmp_path / f"{number}{name}"
        path.write_bytes(changed.tobytes())
        attempt(path)
    assert "Secret" not in caplog.text
    assert "SECRET" not in caplog.text


def test_a_deflated_bomb_is_refused_without_inflating_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medzsad.scan.dicom.headers._MOST_INFLATED_BYTES", 5_000_000)
    whole = first_file(tmp_path / "whole", transfer_syntax=DeflatedExplicitVRLittleEndian)
    start = 144 + int.from_bytes(whole[140:144], "little")
    inflated = zlib.decompress(whole[start:], -zlib.MAX_WBITS)
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    bomb = deflater.compress(inflated + bytes(50_000_000)) + deflater.flush()
    (tmp_path / "a.dcm").write_bytes(whole[:start] + bomb)
    (candidate,) = discover([tmp_path / "a.dcm"], limits=LIMITS)
    assert candidate.code == ReasonCode.SIZE_LIMIT
    (tmp_path / "a.dcm").write_bytes(whole)
    assert discover([tmp_path / "a.dcm"], limits=LIMITS)[0].eligible


def test_the_text_of_a_library_error_is_not_passed_on() -> None:
    with pytest.raises(RefusedError) as refused, refusing("scan.dcm"):
        raise ValueError(SECRET_NAME)
    assert (
        str(refused.value) == "scan.dcm is damaged or not what its name says (ValueError). Check it or fetch it again."
    )


def test_errors_of_our_own_code_are_not_swallowed() -> None:
    with pytest.raises(KeyboardInterrupt), refusing("scan.dcm"):
        raise KeyboardInterrupt
