"""The product scores as the literal program does, whatever the batch: within 1e-5 in float32."""

import sys
from pathlib import Path

import pytest
import torch

from medzsad.methods.detector import Detector
from medzsad.methods.noise import OfficialNoise, SharedNoise
from tests import tiny

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from literal import LiteralBayesPFL

NAME = "liver"


def literal_scores(detector: Detector, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    program = LiteralBayesPFL(
        detector.clip, detector.model.state_dict(), detector.spec.layers, stage=detector.options.stage
    )
    noise = tiny.draws(1, detector.card.samples, seed=3)
    maps, scores = zip(*(program.score(image, NAME, noise) for image in images), strict=True)
    assert all(seconds > 0 for seconds in program.seconds.values())
    return torch.stack(maps), torch.stack(scores)


@pytest.mark.parametrize("stage", [1, 2])
@pytest.mark.parametrize("samples", [1, 4])
def test_float32_scores_equal_those_of_the_literal_program(samples: int, stage: int) -> None:
    detector, images = tiny.detector(samples, stage), tiny.images(3)
    maps, scores = literal_scores(detector, images)
    found = detector.predict(images, [NAME] * 3, SharedNoise(3))
    assert float(maps.std()) > 0.01
    assert torch.allclose(found.score_map, maps, atol=1e-5, rtol=0)
    assert torch.allclose(found.image_score, scores, atol=1e-5, rtol=0)


def test_the_literal_program_takes_the_draws_of_the_authors_order() -> None:
    detector, images = tiny.detector(), tiny.images(2)
    program = LiteralBayesPFL(detector.clip, detector.model.state_dict(), detector.spec.layers, stage=2)
    source, found = OfficialNoise(7), detector.predict(images, [NAME] * 2, OfficialNoise(7))
    shapes = detector.model.draw_shapes(detector.card.samples)
    for place, image in enumerate(images):
        score_map, score = program.score(image, NAME, source.draw(1, shapes, detector.model.shared_draws))
        assert torch.allclose(found.score_map[place], score_map, atol=1e-5, rtol=0)
        assert float(found.image_score[place]) == pytest.approx(float(score), abs=1e-5)
