from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from medzsad.errors import ReasonCode, RefusedError
from medzsad.scan.discover import discover
from medzsad.scan.reader import read_scan
from medzsad.scan.records import Candidate, ReadLimits
from tests.phantoms import SECRET_NAME, phantom_scan, values_in_world, write_dicom_series

STRICT, LENIENT = ReadLimits(), ReadLimits(allow_irregular=True)
PHANTOM = phantom_scan((20, 24, 6))
Mark = Callable[[Dataset], None]


def in_group(sequence: str, **values: object) -> Mark:
    """Writes values into a functional group of a frame."""

    def mark(frame: Dataset) -> None:
        item = frame[sequence].value[0] if sequence in frame else Dataset()
        for keyword, value in values.items():
            setattr(item, keyword, value)
        setattr(frame, sequence, [item])

    return mark


def frame_type(code: str) -> Mark:
    return in_group("MRImageFrameTypeSequence", FrameType=["ORIGINAL", "PRIMARY", code, "NONE"])


TOLD_APART: dict[str, tuple[Mark, Mark]] = {
    "FrameType": (frame_type("M_FFE"), frame_type("PHASE_MAP")),
    "EffectiveEchoTime": (
        in_group("MREchoSequence", EffectiveEchoTime=2.3),
        in_group("MREchoSequence", EffectiveEchoTime=11.5),  # as text it would come first
    ),
    "ComplexImageComponent": (
        in_group("MRImageFrameTypeSequence", ComplexImageComponent="MAGNITUDE"),
        in_group("MRImageFrameTypeSequence", ComplexImageComponent="PHASE"),
    ),
    "DiffusionBValue": (
        in_group("MRDiffusionSequence", DiffusionBValue=0.0),
        in_group("MRDiffusionSequence", DiffusionBValue=1000.0),
    ),
    "TemporalPositionIndex": (
        in_group("FrameContentSequence", TemporalPositionIndex=1),
        in_group("FrameContentSequence", TemporalPositionIndex=2),
    ),
    "NominalCardiacTriggerDelayTime": (
        in_group("CardiacSynchronizationSequence", NominalCardiacTriggerDelayTime=15.0),
        in_group("CardiacSynchronizationSequence", NominalCardiacTriggerDelayTime=300.0),
    ),
}


def write_contrasts(
    file: Path,
    marks: Sequence[Mark],
    *,
    order: Sequence[int] | None = None,
    dimensions: bool = False,
    positions: Sequence[Sequence[int]] | None = None,
) -> list[NDArray[np.float32]]:
    """Writes one enhanced file whose contrast n has the phantom's values divided by n + 1; hands these back.

    Args:
        file: What is written.
        marks: For each contrast, what its frames say.
        order: Order of all frames in the file; random if not given.
        dimensions: Whether DimensionIndexValues get the number of the contrast as a third index.
        positions: For each contrast the slices it has, all of them if not given.
    """
    write_dicom_series(file.parent, PHANTOM, multiframe=True)
    dataset = pydicom.dcmread(file.parent / "enhanced.dcm")
    (file.parent / "enhanced.dcm").unlink()
    pixels, plain = dataset.pixel_array, list(dataset.PerFrameFunctionalGroupsSequence)
    frames, stored = [], []
    for n, mark in enumerate(marks):
        for k in range(len(plain)) if positions is None else positions[n]:
            frame = deepcopy(plain[k])
            mark(frame)
            content = frame.FrameContentSequence[0]
            content.DimensionIndexValues = [1, k + 1, n + 1] if dimensions else [1, k + 1]
            frames.append(frame)
            stored.append(pixels[k] // (n + 1))
    where = np.random.default_rng(3).permutation(len(frames)) if order is None else order
    dataset.PerFrameFunctionalGroupsSequence = [frames[n] for n in where]
    dataset.NumberOfFrames, dataset.PixelData = len(frames), np.stack([stored[n] for n in where]).tobytes()
    dataset.save_as(file)
    rounded = np.rint(PHANTOM.scan.voxels)
    return [np.asarray(rounded // (n + 1), np.float32) for n in range(len(marks))]


def found(file: Path, limits: ReadLimits = STRICT) -> list[Candidate]:
    return discover([file], limits=limits, all_frames=True)


@pytest.mark.parametrize("tag", TOLD_APART)
def test_two_contrasts_are_never_mixed_whatever_the_order_of_frames(tmp_path: Path, tag: str) -> None:
    file = tmp_path / "a.dcm"
    expected = write_contrasts(file, TOLD_APART[tag])
    (refused,) = discover([file], limits=STRICT)
    assert refused.code == ReasonCode.SERIES_4D
    assert f"Frame 0: {tag}" in refused.reason
    for candidate, values in zip(found(file), expected, strict=True):
        scan = read_scan(candidate, STRICT)
        np.testing.assert_allclose(values_in_world(scan, PHANTOM.scan), values, atol=0.01)
        assert scan.notes[0].startswith(f"Frame {candidate.frame} of 2 (from 0): {tag}")


def test_dimension_indices_alone_tell_contrasts_apart(tmp_path: Path) -> None:
    expected = write_contrasts(tmp_path / "a.dcm", [lambda _: None] * 3, dimensions=True)
    scans = [read_scan(candidate, STRICT) for candidate in found(tmp_path / "a.dcm")]
    for scan, values in zip(scans, expected, strict=True):
        np.testing.assert_allclose(values_in_world(scan, PHANTOM.scan), values, atol=0.01)


@pytest.mark.parametrize("limits", [STRICT, LENIENT], ids=["strict", "lenient"])
def test_frames_that_nothing_tells_apart_are_refused(tmp_path: Path, limits: ReadLimits) -> None:
    write_contrasts(tmp_path / "a.dcm", [lambda _: None] * 2, order=range(12))
    (candidate,) = found(tmp_path / "a.dcm", limits)
    with pytest.raises(RefusedError) as refused:
        read_scan(candidate, limits)
    assert refused.value.code == ReasonCode.GEOMETRY_DUPLICATE_POSITION


def test_contrasts_at_different_positions_are_not_mixed_either(tmp_path: Path) -> None:
    halves = ([0, 1, 2], [3, 4, 5])
    write_contrasts(tmp_path / "a.dcm", TOLD_APART["FrameType"], positions=halves)
    for limits in (STRICT, LENIENT):
        assert [candidate.shape[2] for candidate in found(tmp_path / "a.dcm", limits)] == [3, 3]


@pytest.mark.parametrize("seconds", [1, 2], ids=["one time per slice", "odd and even slices"])
def test_a_tag_that_runs_along_with_the_position_splits_no_volume(tmp_path: Path, seconds: int) -> None:
    def timed(index: int) -> Mark:
        def mark(frame: Dataset) -> None:
            number = int(frame.FrameContentSequence[0].InStackPositionNumber)
            time = float(number % 2 if seconds == 2 else 10 * number + index)
            in_group("TemporalPositionSequence", TemporalPositionTimeOffset=time)(frame)
            in_group("FrameContentSequence", FrameAcquisitionNumber=index)(frame)

        return mark

    expected = write_contrasts(tmp_path / "a.dcm", [timed(1), timed(2)])
    scans = [read_scan(candidate, STRICT) for candidate in found(tmp_path / "a.dcm")]
    for scan, values in zip(scans, expected, strict=True):
        np.testing.assert_allclose(values_in_world(scan, PHANTOM.scan), values, atol=0.01)


def test_numbers_of_frames_do_not_depend_on_the_order_in_the_file(tmp_path: Path) -> None:
    marks = TOLD_APART["EffectiveEchoTime"]
    for name, order in {"a": range(12), "b": range(11, -1, -1)}.items():
        (tmp_path / name).mkdir()
        write_contrasts(tmp_path / name / "x.dcm", marks, order=order)
    first, second = ([read_scan(c, STRICT).voxels for c in found(tmp_path / name / "x.dcm")] for name in "ab")
    np.testing.assert_array_equal(first, second)


def test_a_cut_off_last_time_point_spoils_the_others_in_no_way(tmp_path: Path) -> None:
    marks = [in_group("FrameContentSequence", TemporalPositionIndex=n) for n in (1, 2, 3)]
    expected = write_contrasts(tmp_path / "a.dcm", marks, positions=(range(6), range(6), range(2)))
    *whole, cut = found(tmp_path / "a.dcm")
    assert cut.code == ReasonCode.SERIES_TOO_FEW_SLICES
    for candidate, values in zip(whole, expected[:2], strict=True):
        np.testing.assert_allclose(values_in_world(read_scan(candidate, STRICT), PHANTOM.scan), values, atol=0.01)


def test_the_names_of_contrasts_show_no_text(tmp_path: Path) -> None:
    marks = [
        in_group("MRImageFrameTypeSequence", FrameType=["ORIGINAL", "M"]),
        in_group("CTReconstructionSequence", ConvolutionKernel=SECRET_NAME[:16]),
    ]
    write_contrasts(tmp_path / "a.dcm", marks)
    (refused,) = discover([tmp_path / "a.dcm"], limits=STRICT)
    notes = [read_scan(candidate, STRICT).notes for candidate in found(tmp_path / "a.dcm")]
    assert "ConvolutionKernel ?" in refused.reason
    assert SECRET_NAME[:8] not in refused.reason + repr(notes)


def test_functional_groups_for_another_number_of_frames_are_refused(tmp_path: Path) -> None:
    write_contrasts(tmp_path / "a.dcm", TOLD_APART["FrameType"])
    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    dataset.NumberOfFrames = 11
    dataset.save_as(tmp_path / "a.dcm")
    (refused,) = discover([tmp_path / "a.dcm"], limits=STRICT)
    assert refused.code == ReasonCode.FILE_UNREADABLE
    assert "11 frames by its NumberOfFrames and 12" in refused.reason
