"""The embedded model, as it ships: small, whole, honest about itself, and able to find the lesion of the example."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.processing import resample_from_to

import medzsad
from medzsad.config import make_config
from medzsad.methods.detector import Detector
from medzsad.methods.noise import SharedNoise
from medzsad.run.pipeline import detect_scan
from medzsad.slices.stack import stack_slices
from medzsad.volume.records import Outcome
from tests.phantoms import phantom_scan

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "medzsad" / "assets" / "medzsad-mini.safetensors"
LARGEST_BYTES = 30 * 1024**2


@pytest.fixture(scope="module")
def detector() -> Detector:
    return medzsad.load_detector(device="cpu")


def test_it_is_small_enough_to_ship() -> None:
    assert SHIPPED.stat().st_size < LARGEST_BYTES


def test_it_says_what_it_is(detector: Detector) -> None:
    info = detector.card
    assert info.name == "medzsad-mini"
    assert info.threshold is not None
    assert 0.0 < info.threshold < 1.0
    assert info.license == "CC BY-SA 4.0"
    for text in (info.threshold_provenance, info.source, info.description):
        assert len(text) > 20, text


def test_it_finds_the_lesion_of_the_example_scan(detector: Detector) -> None:
    result = medzsad.detect(ROOT / "examples" / "scans" / "head_with_lesion", detector=detector)
    assert result.outcome == Outcome.LESION
    from examples.make_scans import head

    truth = head(seed=3, lesion=True)
    distance_mm = np.linalg.norm(np.asarray(result.lesions[0].centroid_ras_mm) - truth.lesion_centroid_ras_mm)
    assert distance_mm < 15.0
    image = nib.Nifti1Image(truth.lesion_mask.astype(np.float32), truth.scan.affine_ras)
    there = resample_from_to(image, (result.scan.shape, result.scan.affine_ras), order=0).get_fdata() > 0.5
    found = result.mask > 0
    assert 2 * (found & there).sum() / (found.sum() + there.sum()) > 0.7


def test_it_calls_the_healthy_example_healthy(detector: Detector) -> None:
    result = medzsad.detect(ROOT / "examples" / "scans" / "healthy_head.nii.gz", detector=detector)
    assert result.outcome == Outcome.NO_LESION
    assert not result.mask.any()


def test_its_lesions_say_how_often_healthy_scans_show_one_like_them(detector: Detector) -> None:
    lesion = medzsad.detect(ROOT / "examples" / "scans" / "head_with_lesion", detector=detector).lesions[0]
    assert lesion.probability > 0.5
    assert lesion.healthy_share <= 0.05


def test_bfloat16_finds_the_same_lesions(detector: Detector) -> None:
    scan = ROOT / "examples" / "scans" / "head_with_lesion"
    exact, fast = (medzsad.detect(scan, detector=detector, precision=p) for p in ("float32", "bfloat16"))
    assert 0 < np.abs(exact.score - fast.score).max() < 0.12
    assert len(exact.lesions) == len(fast.lesions)
    assert 2 * (exact.mask & fast.mask).sum() > 0.98 * (exact.mask.sum() + fast.mask.sum())


def test_the_scores_of_a_batch_are_those_of_its_images(detector: Detector) -> None:
    stack = stack_slices(phantom_scan().scan, size=detector.spec.image_size)
    _, images = next(stack.batches(5))
    whole = detector.predict(images, ["tissue"] * 5, SharedNoise(0))
    for n in range(5):
        single = detector.predict(images[n : n + 1], ["tissue"], SharedNoise(0))
        assert np.allclose(whole.score_map[n], single.score_map[0], atol=1e-5)
        assert np.allclose(whole.image_score[n], single.image_score[0], atol=1e-5)


def test_the_same_scan_gives_the_same_bytes_twice(detector: Detector) -> None:
    scan = phantom_scan((48, 56, 6)).scan
    first, second = (detect_scan(scan, detector, make_config({})) for _ in range(2))
    assert np.array_equal(first.score, second.score)


def test_seed_and_samples_change_the_scores_a_little_and_are_honored(detector: Detector) -> None:
    scan = phantom_scan((48, 56, 6)).scan
    first, other = (detect_scan(scan, detector, make_config({"seed": seed})) for seed in (0, 1))
    assert first.score is not None
    assert other.score is not None
    assert not np.array_equal(first.score, other.score)
    more = medzsad.load_detector(device="cpu", samples=7)
    assert more.card.samples == 7


def test_bfloat16_is_close_to_float32(detector: Detector) -> None:
    scan = phantom_scan((48, 56, 6)).scan
    exact, rough = (detect_scan(scan, detector, make_config({"precision": p})) for p in ("float32", "bfloat16"))
    assert exact.score is not None
    assert rough.score is not None
    assert 0.0 < np.abs(exact.score - rough.score).max() < 0.15
    assert np.abs(exact.score - rough.score).mean() < 0.02
