"""Text features of a CLIP tower from token embeddings that a method has put together."""

from functools import lru_cache

import open_clip
import torch
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor, nn


@lru_cache(maxsize=1)
def _tokenizer() -> SimpleTokenizer:
    return SimpleTokenizer()  # its vocabulary comes with open_clip, nothing is downloaded


def token_ids(text: str) -> Tensor:
    """(n,) int64 tokens of `text`, from the start token to the end token, without padding."""
    tokenizer = _tokenizer()
    return torch.tensor([tokenizer.sot_token_id, *tokenizer.encode(text), tokenizer.eot_token_id])


def encode_embeddings(clip: open_clip.CLIP, embeds: Tensor, eot: Tensor) -> Tensor:
    """Text features, not normalized, of sequences given as token embeddings.

    Attention is causal, so positions behind the end token cannot change the result and may be left out.

    Args:
        clip: Tower of `medzsad.clip.load`.
        embeds: (n, L, C) token embeddings without positions, L at most the tower's context length.
        eot: (n,) int64, position of the end token in each sequence.

    Returns:
        (n, D).
    """
    length = embeds.shape[1]
    x = embeds + clip.positional_embedding[:length]
    x = clip.transformer(x, attn_mask=clip.attn_mask[:length, :length])
    x = clip.ln_final(x[torch.arange(len(x), device=x.device), eot])
    projection = clip.text_projection
    features: Tensor = projection(x) if isinstance(projection, nn.Linear) else x @ projection
    return features
