"""The picture of an operating curve."""

import io

import numpy as np
from PIL import Image

from medzsad.drawing.operating_plot import operating_plot
from medzsad.weights.card import DecisionCard
from tests.decisions import decision_card, point


def _pixels(card: DecisionCard) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(operating_plot(card, "tiny"))).convert("RGB")).astype(int)


def test_the_plot_is_a_picture_that_repeats_to_the_byte() -> None:
    picture = _pixels(decision_card())
    assert picture.shape == (500, 1100, 3)
    assert operating_plot(decision_card(), "tiny") == operating_plot(decision_card(), "tiny")


def test_fewer_lesions_found_is_another_picture_on_both_sides() -> None:
    card = decision_card()
    points = (*card.operating.points[:2], point(4.0, "low", 0.0, (0, 1)))
    other = card.model_copy(update={"operating": card.operating.model_copy(update={"points": points})})
    different = (_pixels(card) != _pixels(other)).any(axis=(0, 2))
    assert different[:550].any()
    assert different[550:].any()


def test_a_decision_without_a_lesion_can_be_drawn() -> None:
    curve = decision_card().operating.model_copy(update={"lesions_by_size": (0, 0), "lesions_by_contrast": (0, 0)})
    assert _pixels(decision_card(operating=curve)).std() > 0
