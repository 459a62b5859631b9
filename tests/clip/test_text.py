import pytest
import torch

from medzsad.clip.text import encode_embeddings, token_ids
from tests import tiny


def test_tokens_are_those_of_clip() -> None:
    assert token_ids("X brain").tolist() == [49406, 343, 4812, 49407]


def test_injected_embeddings_give_what_open_clip_gives_for_the_tokens() -> None:
    clip = tiny.tower()
    ids = token_ids("a damaged head ct")
    padded = torch.zeros(1, 77, dtype=torch.int64)
    padded[0, : len(ids)] = ids
    found = encode_embeddings(clip, clip.token_embedding(ids)[None], torch.tensor([len(ids) - 1]))
    torch.testing.assert_close(found, clip.encode_text(padded), atol=1e-5, rtol=0)


def test_positions_behind_the_end_token_change_nothing() -> None:
    clip = tiny.tower()
    embeds = torch.randn(2, 20, tiny.WIDTH)
    ends = torch.tensor([6, 9])
    full = encode_embeddings(clip, embeds, ends)
    torch.testing.assert_close(encode_embeddings(clip, embeds[:, :10], ends), full, atol=1e-5, rtol=0)
    embeds[0, 7:] = 100
    torch.testing.assert_close(encode_embeddings(clip, embeds, ends), full, atol=1e-5, rtol=0)


@pytest.mark.parametrize("position", [0, 3, 6])
def test_positions_up_to_the_end_token_matter(position: int) -> None:
    clip = tiny.tower()
    embeds = torch.randn(1, 8, tiny.WIDTH)
    before = encode_embeddings(clip, embeds, torch.tensor([6]))
    embeds[0, position] += torch.randn(tiny.WIDTH)
    assert (encode_embeddings(clip, embeds, torch.tensor([6])) - before).abs().max() > 1e-3
