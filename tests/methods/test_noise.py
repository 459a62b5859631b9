from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from medzsad.methods.noise import GivenNoise, OfficialNoise, SharedNoise

SHARED = frozenset({"normal", "abnormal"})


def _shapes(samples: int, width: int) -> Mapping[str, tuple[int, ...]]:
    return dict.fromkeys(("context", "normal", "abnormal"), (samples, width))


def test_shared_noise_is_the_same_for_every_image_and_batch() -> None:
    source, shapes = SharedNoise(7), _shapes(4, 5)
    many, one = source.draw(3, shapes, SHARED), source.draw(1, shapes, SHARED)
    for row in many["context"]:
        assert torch.equal(row, one["context"][0])
    assert torch.equal(many["normal"], one["normal"])
    assert not torch.equal(one["normal"], one["abnormal"])
    assert not torch.equal(one["context"][0], one["normal"])
    assert not torch.equal(SharedNoise(8).draw(1, shapes, SHARED)["context"], one["context"])


@pytest.mark.parametrize(("samples", "width"), [(4, 128), (10, 768), (3, 5)])
def test_bayes_pfl_gets_the_numbers_that_it_has_always_had(samples: int, width: int) -> None:
    before = torch.randn(3, samples, width, generator=torch.Generator().manual_seed(7))
    found = SharedNoise(7).draw(1, _shapes(samples, width), SHARED)
    drawn = [found["context"][0], found["normal"], found["abnormal"]]
    assert torch.equal(torch.stack(drawn), before)


def test_shared_noise_leaves_the_global_stream_alone() -> None:
    before = torch.get_rng_state()
    SharedNoise(7).draw(2, _shapes(3, 4), SHARED)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_method_without_draws_gets_none() -> None:
    for source in (SharedNoise(1), OfficialNoise(1), GivenNoise({})):
        assert source.draw(3, {}, frozenset()) == {}


def test_official_noise_follows_the_authors_order() -> None:
    generator = torch.Generator().manual_seed(3)
    stream = [torch.randn(1, 5, generator=generator) for _ in range(12)]  # two images, R = 2
    found = OfficialNoise(3).draw(2, _shapes(2, 5), SHARED)
    assert torch.equal(found["context"], torch.stack([torch.cat(stream[:2]), torch.cat(stream[6:8])]))
    assert torch.equal(found["normal"], torch.cat(stream[2:4]))
    assert torch.equal(found["abnormal"], torch.cat(stream[4:6]))


def test_official_noise_keeps_the_state_draws_of_the_first_image() -> None:
    shapes = _shapes(2, 5)
    together, apart = OfficialNoise(3).draw(2, shapes, SHARED), OfficialNoise(3)
    first, second = apart.draw(1, shapes, SHARED), apart.draw(1, shapes, SHARED)
    assert torch.equal(together["context"], torch.cat((first["context"], second["context"])))
    assert torch.equal(second["normal"], first["normal"])


def _given() -> dict[str, Tensor]:
    return {"context": torch.randn(3, 2, 4), "normal": torch.randn(2, 4), "abnormal": torch.randn(2, 4)}


def test_given_noise_is_handed_out_in_order_until_it_is_used_up() -> None:
    given, shapes = _given(), _shapes(2, 4)
    source = GivenNoise(given)
    assert torch.equal(source.draw(2, shapes, SHARED)["context"], given["context"][:2])
    assert torch.equal(source.draw(1, shapes, SHARED)["context"], given["context"][2:])
    with pytest.raises(ValueError, match="image 3 on"):
        source.draw(1, shapes, SHARED)


def test_given_noise_names_what_is_missing() -> None:
    given = _given()
    del given["normal"]
    with pytest.raises(ValueError, match="'normal'"):
        GivenNoise(given).draw(1, _shapes(2, 4), SHARED)
