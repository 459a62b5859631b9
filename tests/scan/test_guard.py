"""What the format libraries raise and say, and what is ours."""

import errno
import logging
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from PIL import Image
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless

from medzsad.errors import ReasonCode, RefusedError
from medzsad.scan import archive, detached, itk, nifti, picture
from medzsad.scan import discover as discovery
from medzsad.scan.archive import unpack
from medzsad.scan.discover import discover
from medzsad.scan.guard import refusing
from medzsad.scan.reader import read_scan
from medzsad.scan.records import ReadLimits
from medzsad.scan.silence import LIBRARIES
from tests.phantoms import phantom_scan, write_dicom_series, write_nifti

LIMITS = ReadLimits()
ROOT = Path(__file__).resolve().parents[2]


def write(folder: Path, name: str) -> Path:
    path = folder / name
    if path.suffix == ".mha":
        image = SimpleITK.GetImageFromArray(phantom_scan((12, 15, 9)).scan.voxels)
        SimpleITK.WriteImage(image, str(path), True)
    elif path.suffix == ".nii":
        write_nifti(path, phantom_scan((12, 15, 9)))
    elif path.suffix == ".png":
        Image.fromarray(np.arange(99, dtype=np.uint8).reshape(9, 11)).save(path)
    else:
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(phantom_scan((12, 15, 9)).scan.voxels), str(path))
    return path


@pytest.mark.parametrize(
    ("name", "module", "function"),
    [
        ("a.nii", nifti, "_affine_ras"),
        ("a.nii", nifti, "_grid_shape"),
        ("a.nii", nifti, "_voxels"),
        ("a.nrrd", itk, "_affine_ras"),
        ("a.mha", detached, "_meta_fields"),
        ("a.mha", itk, "check_meta_data"),
        ("a.png", picture, "_pages"),
        ("a.png", picture, "_values"),
        ("a.mha", detached, "_inflated_bytes"),
        ("a.nii", discovery, "looks_like_dicom"),
    ],
)
@pytest.mark.parametrize("kind", [AttributeError, TypeError, KeyError, ValueError])
def test_a_fault_of_our_reading_code_comes_out_as_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: object, function: str, kind: type[Exception]
) -> None:
    write(tmp_path, name)

    def broken(*_: object, **__: object) -> None:
        raise kind("planted")

    monkeypatch.setattr(module, function, broken)
    (candidate,) = discover([tmp_path], limits=LIMITS)
    assert candidate.code is None
    with pytest.raises(kind, match="planted"):
        read_scan(candidate, LIMITS)


def test_a_fault_of_ours_in_one_file_costs_no_other_file_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "a.nii")
    write(tmp_path, "b.png")
    monkeypatch.setattr(nifti, "_affine_ras", lambda *_: None.nothing)  # type: ignore[attr-defined]
    faulty, fine = discover([tmp_path], limits=LIMITS)
    assert isinstance(faulty.fault, AttributeError)
    assert not faulty.eligible
    assert fine.eligible


@pytest.mark.parametrize("function", ["_write", "_zip_directory", "_check_entry", "_check_size"])
def test_a_fault_of_ours_while_unpacking_comes_out_as_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.zip", "w") as made:
        made.writestr("a.nii", b"x")

    def broken(*_: object, **__: object) -> None:
        raise AttributeError("planted")

    monkeypatch.setattr(archive, function, broken)
    with pytest.raises(AttributeError, match="planted"):
        unpack(tmp_path / "a.zip", tmp_path / "out", "a.zip", 100)
    assert not (tmp_path / "out").exists()


def test_threads_that_read_at_once_leave_filters_and_loggers_as_they_were(tmp_path: Path) -> None:
    write_dicom_series(tmp_path / "series", phantom_scan((24, 28, 6)))
    for number in range(12):
        write(tmp_path, f"{number}.nii")
        write(tmp_path, f"{number}.mha")
        (tmp_path / f"{number}.dcm").write_bytes(b"no DICOM at all" * number)

    def state() -> tuple[object, ...]:
        loggers = [logging.getLogger(name) for name in (*LIBRARIES, "nibabel.global", "medzsad")]
        kept = [(one.level, one.propagate, tuple(one.handlers), tuple(one.filters)) for one in loggers]
        return list(warnings.filters), kept, SimpleITK.ProcessObject.GetGlobalWarningDisplay()

    def read_all(_: int) -> list[str]:
        done = []
        for candidate in discover([tmp_path], limits=LIMITS):
            try:
                done.append(str(read_scan(candidate, LIMITS).shape))
            except RefusedError as error:
                done.append(str(error.code))
        return done

    before = state()
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(read_all, range(4)))
    assert state() == before
    assert all(result == results[0] for result in results)
    assert len(results[0]) == 37


def test_warnings_of_other_code_are_still_shown() -> None:
    program = (
        "import warnings, medzsad.scan.reader\n"
        "warnings.warn('mine')\n"
        "code = compile('import warnings; warnings.warn(\"of a library\")', 'x', 'exec')\n"
        "exec(code, {'__name__': 'pydicom.values'})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    assert "mine" in done.stderr
    assert "of a library" not in done.stderr


def test_nothing_of_the_libraries_reaches_the_terminal(tmp_path: Path) -> None:
    """Python's libraries log and warn, those in C write to file descriptor 2, and GDCM may end the process."""
    noise = np.random.default_rng(0)
    phantom = phantom_scan((36, 40, 4))
    gray = phantom.scan.voxels[:, :, 2].astype(np.uint8)
    Image.fromarray(gray).save(tmp_path / "lzw.tif", compression="tiff_lzw")
    image = SimpleITK.GetImageFromArray(phantom.scan.voxels.astype(np.int16))
    SimpleITK.WriteImage(image, str(tmp_path / "plain.mha"))
    SimpleITK.WriteImage(image, str(tmp_path / "packed.mha"), True)
    nib.save(nib.Nifti1Image(phantom.scan.voxels, np.eye(4)), tmp_path / "a.nii")
    for name, syntax in (("jls", JPEGLSLossless), ("j2k", JPEG2000Lossless)):
        write_dicom_series(tmp_path / name, phantom, transfer_syntax=syntax)
        min((tmp_path / name).iterdir()).rename(tmp_path / f"{name}.dcm")
    (tmp_path / "damaged").mkdir()
    for path in [path for path in tmp_path.iterdir() if path.is_file()]:
        whole = np.frombuffer(path.read_bytes(), np.uint8)
        for number in range(30):
            changed = whole.copy()
            where = noise.integers(len(whole) // 3 if number % 2 else 0, len(whole), 1 + number)
            changed[where] = noise.integers(0, 256, len(where))
            kept = len(whole) if number % 5 else int(noise.integers(1, len(whole)))
            (tmp_path / "damaged" / f"{number}-{path.name}").write_bytes(changed[:kept].tobytes())
    program = (
        "import sys; from pathlib import Path\n"
        "from medzsad.errors import RefusedError\n"
        "from medzsad.scan.discover import discover\n"
        "from medzsad.scan.reader import read_scan\n"
        "from medzsad.scan.records import ReadLimits\n"
        "limits = ReadLimits(max_voxels=10**6, allow_irregular=True)\n"
        "refused = 0\n"
        "for path in sorted(Path(sys.argv[1]).iterdir()):\n"
        "    try:\n"
        "        [read_scan(one, limits) for one in discover([path], limits=limits)]\n"
        "    except RefusedError:\n"
        "        refused += 1\n"
        "print(refused)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "damaged")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 50


@pytest.mark.parametrize(
    ("number", "words", "code"),
    [
        (errno.EACCES, "may not be read by this user", ReasonCode.FILE_UNREADABLE),
        (errno.EPERM, "may not be read by this user", ReasonCode.FILE_UNREADABLE),
        (errno.ENOSPC, "more space than is left on the disk", ReasonCode.SIZE_LIMIT),
        (errno.EIO, "cannot be read by the system: Input/output error", ReasonCode.FILE_UNREADABLE),
        (errno.EMFILE, "cannot be read by the system: Too many open files", ReasonCode.FILE_UNREADABLE),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_what_the_system_forbids_is_never_called_damaged(
    number: int, words: str, code: ReasonCode, wrapped: bool
) -> None:
    def library() -> None:
        try:
            raise OSError(number, "of the system")
        except OSError as error:
            if wrapped:
                raise nib.filebasedimages.ImageFileError("cannot tell the type") from error
            raise

    with pytest.raises(RefusedError, match=words) as refused, refusing("scan.nii"):
        library()
    assert refused.value.code == code
    assert "damaged" not in str(refused.value)


def test_a_full_disk_while_unpacking_is_said_to_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.zip", "w") as made:
        made.writestr("a.nii", b"x")
    real = Path.open

    def full(path: Path, mode: str = "r", *rest: object, **named: object) -> object:
        if "x" in mode:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, mode, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "open", full)
    (refused,) = discover([tmp_path], limits=LIMITS, unpack_dir=tmp_path / "out")
    assert refused.code == ReasonCode.SIZE_LIMIT
    assert "space" in refused.reason
    assert "damaged" not in refused.reason


def test_a_detached_data_file_without_permission_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "a.mhd")
    (candidate,) = discover([tmp_path], limits=LIMITS)
    real = Path.open

    def barred(path: Path, *rest: object, **named: object) -> object:
        if path.suffix in (".raw", ".zraw"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "open", barred)
    with pytest.raises(RefusedError, match="may not be read by this user"):
        read_scan(candidate, LIMITS)
