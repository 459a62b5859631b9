import pytest
import torch

from medzsad.methods.noise import GivenNoise, Noise, OfficialNoise, SharedNoise


def test_shared_noise_is_the_same_for_every_image_and_batch() -> None:
    source = SharedNoise(7)
    many, one = source.draw(3, 4, 5), source.draw(1, 4, 5)
    for row in many.context:
        assert torch.equal(row, one.context[0])
    assert torch.equal(many.normal, one.normal)
    assert not torch.equal(one.normal, one.abnormal)
    assert not torch.equal(one.context[0], one.normal)
    assert not torch.equal(SharedNoise(8).draw(1, 4, 5).context, one.context)


def test_shared_noise_leaves_the_global_stream_alone() -> None:
    before = torch.get_rng_state()
    SharedNoise(7).draw(2, 3, 4)
    assert torch.equal(torch.get_rng_state(), before)


def test_official_noise_follows_the_authors_order() -> None:
    generator = torch.Generator().manual_seed(3)
    stream = [torch.randn(1, 5, generator=generator) for _ in range(12)]  # two images, R = 2
    found = OfficialNoise(3).draw(2, 2, 5)
    assert torch.equal(found.context, torch.stack([torch.cat(stream[:2]), torch.cat(stream[6:8])]))
    assert torch.equal(found.normal, torch.cat(stream[2:4]))
    assert torch.equal(found.abnormal, torch.cat(stream[4:6]))


def test_official_noise_keeps_the_state_draws_of_the_first_image() -> None:
    together, apart = OfficialNoise(3).draw(2, 2, 5), OfficialNoise(3)
    first, second = apart.draw(1, 2, 5), apart.draw(1, 2, 5)
    assert torch.equal(together.context, torch.cat((first.context, second.context)))
    assert torch.equal(second.normal, first.normal)


def test_given_noise_is_handed_out_in_order_until_it_is_used_up() -> None:
    noise = Noise(torch.randn(3, 2, 4), torch.randn(2, 4), torch.randn(2, 4))
    source = GivenNoise(noise)
    assert torch.equal(source.draw(2, 2, 4).context, noise.context[:2])
    assert torch.equal(source.draw(1, 2, 4).context, noise.context[2:])
    with pytest.raises(ValueError, match="image 3 on"):
        source.draw(1, 2, 4)
