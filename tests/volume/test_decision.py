"""Evidence, cut-offs and what is told of them."""

import numpy as np
import pytest

from medzsad.errors import WeightsError
from medzsad.volume.candidates import FEATURES, Candidates
from medzsad.volume.cutoffs import AIMS, level_cutoffs, one_in, share_at_least
from medzsad.volume.decision import (
    above_evidence,
    above_score,
    decide,
    evidence_of,
    healthy_share,
    probability_of,
)
from medzsad.volume.records import DecisionTaken
from tests.decisions import decision_card


def test_evidence_is_a_weighted_sum_of_standardized_features() -> None:
    count = len(FEATURES)
    card = decision_card(
        mean=tuple(range(count)), scale=(2.0,) * count, coefficients=tuple(range(count)), intercept=-1.0
    )
    features = np.arange(2.0 * count).reshape(2, count)
    expected = [sum(c * (f - c) / 2 for c, f in enumerate(row)) - 1 for row in features]
    assert evidence_of(features, card).tolist() == pytest.approx(expected)


def test_features_are_found_by_name_whatever_their_order() -> None:
    card = decision_card()
    turned = card.model_copy(update={"features": card.features[::-1], "coefficients": card.coefficients[::-1]})
    features = np.random.default_rng(0).random((4, len(FEATURES)))
    assert np.array_equal(evidence_of(features, turned), evidence_of(features, card))


def test_a_feature_that_is_not_measured_here_is_named() -> None:
    card = decision_card(features=(*FEATURES[:-1], "smell"))
    with pytest.raises(WeightsError, match="smell"):
        evidence_of(np.zeros((1, len(FEATURES))), card)


@pytest.mark.parametrize("count", [1, 5, 19, 20, 100, 250])
def test_cutoffs_keep_the_share_within_the_aim_and_are_the_smallest_that_do(count: int) -> None:
    highest = [round(float(value), 4) for value in np.random.default_rng(count).normal(size=count)]
    for level, found in level_cutoffs(highest, above_evidence).items():
        assert found.value is not None
        assert found.share == share_at_least(highest, found.value) <= AIMS[level]
        assert share_at_least(highest, round(found.value - 1e-4, 4)) > AIMS[level]
        assert found.supported >= 1 / (count + 1)


def test_few_scans_give_their_maximum_and_say_which_share_they_support() -> None:
    found = level_cutoffs([1.0, 2.0, 3.0], above_evidence)
    assert {cutoff.value for cutoff in found.values()} == {3.0001}
    assert {cutoff.supported for cutoff in found.values()} == {0.25}


def test_where_few_healthy_scans_have_a_candidate_every_candidate_may_be_a_lesion() -> None:
    found = level_cutoffs([None] * 9 + [1.0], above_evidence)
    assert found["high"].value is None
    assert found["high"].share == 0.1
    assert found["balanced"].value == 1.0001


def test_a_saturated_score_cannot_be_cut_off_and_its_share_is_told() -> None:
    found = level_cutoffs([1.0, 1.0, 0.5], above_score)
    assert found["low"].value == 1.0
    assert found["low"].share == pytest.approx(2 / 3)
    assert above_score(0.5) == float(np.nextafter(np.float32(0.5), np.float32(1)))


@pytest.mark.parametrize(
    ("share", "scans", "words"),
    [(0.05, 200, "1 in 20"), (0.0, 200, "fewer than 1 in 200"), (0.005, 200, "1 in 200"), (0.7, 10, "7 in 10")],
)
def test_a_share_of_healthy_scans_reads_as_one_in_so_many(share: float, scans: int, words: str) -> None:
    assert one_in(share, scans) == words


def test_the_share_of_healthy_scans_is_never_too_small_and_zero_above_all_of_them() -> None:
    card = decision_card()
    shares = [healthy_share(evidence, card) for evidence in (1.0, 2.0, 2.9, 3.0, 3.4, 3.5, 3.6)]
    assert shares == [0.2, 0.2, 0.2, 0.05, 0.05, 0.01, 0.0]
    assert healthy_share(1.0, decision_card(false_per_volume=())) == 0.0


def test_probability_grows_with_evidence() -> None:
    card = decision_card()
    assert probability_of(3.0, card) == 0.5
    assert probability_of(4.0, card) > 0.8
    assert 0.0 < probability_of(-1e6, card) < probability_of(1e6, card) <= 1.0


def test_weaker_candidates_leave_the_mask_and_are_counted() -> None:
    reached = np.zeros((6, 5, 4), bool)
    reached[0:3, 0:2, 0:2] = True
    reached[5, 4, 3] = True
    labels = reached.astype(np.int32)
    labels[5, 4, 3] = 2
    features = np.zeros((2, len(FEATURES)))
    features[:, FEATURES.index("log_size")] = (3.5, 1.0)
    box = (slice(0, 6), slice(0, 5), slice(0, 4))
    found = Candidates(labels, box, features, np.array([12, 1]), np.array([0.9, 0.8], np.float32))
    taken = DecisionTaken("balanced", "weights", "evidence", 3.0, 100, 0.05)
    decided = decide(reached, found, decision_card(), taken)
    assert decided.reached.sum() == 12
    assert not decided.reached[5, 4, 3]
    assert decided.evidence.tolist() == [3.5]
    assert decided.taken.dropped == 1
    assert decided.notes == ("1 weaker candidate was dropped at sensitivity balanced.",)
    everything = DecisionTaken("high", "weights", "evidence", None, 100, 0.1)
    assert decide(reached, found, decision_card(), everything).reached.sum() == 13
