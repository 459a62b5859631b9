"""The whole context of a scan, through the same function as `medzsad run`."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

import medzsad
from medzsad.config import RunConfig, make_config
from medzsad.context.planes import PLANES
from medzsad.context.settings import context_of, with_context
from medzsad.run.key import key_of
from medzsad.run.pipeline import detect_scan, settled
from medzsad.scan.records import Candidate, Scan
from medzsad.slices.stack import stack_slices
from medzsad.weights.card import ContextCard, card_from_json
from tests.detectors import BrightnessDetector
from tests.phantoms import all_axcodes, phantom_scan

CUBIC = {"shape": (44, 50, 26), "spacing_mm": (1.5, 1.25, 2.0)}
WHOLE = {"planes": "all", "smooth_axis_mm": 2.0, "air": "ignore", "window": "0,1000"}


def _cubic(axcodes: str = "LPS", **more: object) -> Scan:
    return phantom_scan(axcodes=axcodes, **CUBIC, **more).scan  # type: ignore[arg-type]


def _score(scan: Scan, **options: object) -> NDArray[np.float32]:
    score = detect_scan(scan, BrightnessDetector(size=48), make_config(options)).score
    assert score is not None
    return score


def _in_lps(volume: NDArray[np.float32], axcodes: str) -> NDArray[np.float32]:
    pairs = ("LR", "PA", "SI")
    order = [next(axis for axis, code in enumerate(axcodes) if code in pair) for pair in pairs]
    backward = [axis for axis, pair in enumerate(pairs) if axcodes[order[axis]] == pair[1]]
    return np.flip(np.transpose(volume, order), backward)


def test_all_48_axis_orders_have_the_same_scores() -> None:
    expected = _score(_cubic(), axis="axial", **WHOLE)
    assert 0.1 < expected.max() <= 1.0
    for axcodes in all_axcodes():
        found = _in_lps(_score(_cubic(axcodes), axis="axial", **WHOLE), axcodes)
        # Where a voxel is at the level of air to the last bit, the sums of blocks may differ.
        assert np.abs(found - expected).max() < 2e-4, axcodes


@pytest.mark.parametrize("degrees", [(0.0, 0.0, 17.0), (12.0, -9.0, 0.0), (-10.0, 14.0, 12.0)], ids=str)
def test_an_oblique_grid_has_the_scores_of_the_straight_one(degrees: tuple[float, float, float]) -> None:
    expected = _score(_cubic(), axis="axial", **WHOLE)
    found = _score(_cubic(oblique_degrees=degrees), axis="axial", **WHOLE)
    assert np.abs(found - expected).max() < 2e-4


def test_three_planes_find_the_lesion_where_it_is_and_list_the_slices_of_the_main_one() -> None:
    phantom = phantom_scan(**CUBIC)  # type: ignore[arg-type]
    options = {"threshold": 0.75, "window": "0,1000"}
    alone, fused = (
        medzsad.detect(phantom.scan, detector=BrightnessDetector(size=48), planes=planes, **options)
        for planes in ("acquisition", "all")
    )
    distance_mm = np.asarray(fused.lesions[0].centroid_ras_mm) - phantom.lesion_centroid_ras_mm
    assert np.abs(distance_mm).max() < 1.0
    assert fused.slices == alone.slices
    assert any("were fused" in note for note in fused.notes)
    assert not any("fused" in note for note in alone.notes)


def test_every_plane_is_scored_once() -> None:
    scan = _cubic()
    detector = BrightnessDetector(size=48)
    detect_scan(scan, detector, make_config({"planes": "all"}))
    stacks = [stack_slices(scan, size=48, axis=axis) for axis in PLANES]
    assert detector.seen == sum(int(stack.tissue.sum()) for stack in stacks)
    assert len({stack.plan.axis for stack in stacks}) == 3


def test_thick_slices_are_scored_in_one_plane_and_the_note_says_why() -> None:
    scan = phantom_scan().scan
    result = detect_scan(scan, BrightnessDetector(), make_config({"planes": "all"}))
    assert np.array_equal(_score(scan), _score(scan, planes="all"))
    assert any("it has 14 slices along one axis" in note for note in result.notes)
    thick = phantom_scan(shape=(40, 44, 26), spacing_mm=(1.0, 1.0, 3.0)).scan
    result = detect_scan(thick, BrightnessDetector(), make_config({"planes": "all"}))
    assert any("3.0 times as long as wide" in note for note in result.notes)


def test_a_single_picture_has_no_context_and_no_note_of_it() -> None:
    scan = _cubic()
    single = replace(scan, voxels=scan.voxels[:, :, 13:14], modality="PICTURE", has_physical_space=False)
    result = detect_scan(single, BrightnessDetector(size=48), make_config(WHOLE))
    assert result.notes == single.notes
    assert np.array_equal(_score(single, **WHOLE), _score(single, window="0,1000"))


def test_scores_in_the_air_are_zero_and_the_others_are_as_without() -> None:
    scan = phantom_scan().scan
    detector = BrightnessDetector()
    window = {"window": "-500,1000"}  # air itself is gray
    plain = detect_scan(scan, detector, make_config(window))
    ignored = detect_scan(scan, detector, make_config({**window, "air": "ignore"}))
    assert plain.score is not None
    assert ignored.score is not None
    air = ignored.score == 0
    scored = [entry.index for entry in plain.slices if entry.scored]
    assert plain.score[..., scored][air[..., scored]].mean() > 0.2
    assert (scan.voxels[air] == 0).all()
    assert air[scan.voxels == 0].mean() > 0.9
    assert np.array_equal(ignored.score[~air], plain.score[~air])
    assert any("air outside of the body" in note for note in ignored.notes)
    assert not any("air" in note for note in plain.notes)


def test_weights_without_a_context_score_single_slices_as_they_are() -> None:
    card = BrightnessDetector().card
    assert card.context is None
    assert context_of(RunConfig(), card) == ContextCard(planes="acquisition", smooth_axis_mm=0.0, air="score")
    off = {"planes": "acquisition", "smooth_axis_mm": 0.0, "air": "score"}
    assert np.array_equal(_score(_cubic()), _score(_cubic(), **off))


def test_the_weights_say_which_context_and_options_override_them() -> None:
    detector = BrightnessDetector(size=48)
    detector.card = detector.card.model_copy(update={"context": ContextCard(smooth_axis_mm=4.0, air="ignore")})
    assert context_of(make_config({"smooth_axis_mm": 0.0}), detector.card) == ContextCard(air="ignore")
    score = detect_scan(_cubic(), detector, make_config({})).score
    assert score is not None
    assert np.array_equal(score, _score(_cubic(), smooth_axis_mm=4.0, air="ignore"))
    assert not np.array_equal(score, _score(_cubic()))


def test_the_context_is_part_of_the_key_wherever_it_comes_from() -> None:
    plain, smoothing = BrightnessDetector(), BrightnessDetector()
    smoothing.card = smoothing.card.model_copy(update={"context": ContextCard(smooth_axis_mm=4.0)})
    candidate = Candidate("case", "nifti", (), "case")

    def key(detector: BrightnessDetector, **options: object) -> str:
        return key_of(candidate, "content", settled(make_config(options), detector), detector)  # type: ignore[arg-type]

    assert key(smoothing) == key(plain, smooth_axis_mm=4.0)
    assert key(plain) == key(plain, planes="acquisition", air="score")
    one_each = [{}, {"planes": "all"}, {"smooth_axis_mm": 4.0}, {"air": "ignore"}]
    assert len({key(plain, **options) for options in one_each}) == len(one_each)  # type: ignore[arg-type]


def test_a_report_holds_the_context_that_was_taken() -> None:
    detector = BrightnessDetector()
    detector.card = detector.card.model_copy(update={"context": ContextCard(smooth_axis_mm=3.0)})
    config = with_context(make_config({"air": "ignore"}), detector)  # type: ignore[arg-type]
    assert (config.planes, config.smooth_axis_mm, config.air) == ("acquisition", 3.0, "ignore")


def test_the_description_of_weights_holds_a_context_only_where_there_is_one() -> None:
    card = BrightnessDetector().card
    assert '"context"' not in card.to_json()
    with_one = card.model_copy(update={"context": ContextCard(planes="all", air="ignore")})
    assert card_from_json(with_one.to_json()).context == ContextCard(planes="all", air="ignore")
    assert card_from_json(card.to_json()).context is None
