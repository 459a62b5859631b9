"""Text features of a CLIP tower from token embeddings that a method has put together."""

from collections.abc import Sequence
from functools import lru_cache

import open_clip
import torch
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor, nn

from medzsad.errors import ConfigError


@lru_cache(maxsize=1)
def _tokenizer() -> SimpleTokenizer:
    return SimpleTokenizer()  # its vocabulary comes with open_clip, nothing is downloaded


def token_ids(text: str) -> Tensor:
    """(n,) int64 tokens of `text`, from the start token to the end token, without padding."""
    tokenizer = _tokenizer()
    return torch.tensor([tokenizer.sot_token_id, *tokenizer.encode(text), tokenizer.eot_token_id])


def unknown_words(clip: open_clip.CLIP, text: str) -> list[str]:
    """The words of `text` that the tower has no embedding for: one of their tokens has a row of zeros.

    Small towers store the rows of the words that they were trained with and no others.
    """
    tokenizer, table = _tokenizer(), clip.token_embedding.weight
    return [word for word in text.split() if not bool(table[tokenizer.encode(word)].any(dim=1).all())]


def known_words(clip: open_clip.CLIP) -> list[str]:
    """The words, in alphabetical order, that a small tower has embeddings for; whole words of letters only."""
    tokenizer = _tokenizer()
    rows = clip.token_embedding.weight.any(dim=1).nonzero().squeeze(1).tolist()
    pieces = (tokenizer.decoder.get(row, "") for row in rows)
    return sorted(word for piece in pieces if (word := piece.removesuffix("</w>")) != piece and word.isalpha())


def encode_embeddings(clip: open_clip.CLIP, embeds: Tensor, eot: Tensor, deep: Sequence[Tensor] = ()) -> Tensor:
    """Text features, not normalized, of sequences given as token embeddings.

    Attention is causal, so positions behind the end token cannot change the result and may be left out.

    Args:
        clip: Tower of `medzsad.clip.tower`.
        embeds: (n, L, C) token embeddings without positions, L at most the tower's context length.
        eot: (n,) int64, position of the end token in each sequence.
        deep: Deep prompts, (n, m, C) each: before the second block rows 1 to m of each sequence are replaced by the
            first of them, before the third block by the second, and so on (METHODS B.3).

    Returns:
        (n, D).

    Raises:
        ConfigError: A sequence or its deep prompts are too long for the tower, or it has too few blocks for them.
    """
    blocks, length = clip.transformer.resblocks, embeds.shape[1]
    longest = max((prompt.shape[1] for prompt in deep), default=0)
    if length > clip.context_length or longest >= length or len(deep) >= len(blocks):
        raise ConfigError(
            f"Prompts of {length} tokens with {len(deep)} deep prompts of up to {longest} tokens do not fit the text "
            f"tower: it takes {clip.context_length} tokens, and a deep prompt before each of its {len(blocks)} blocks "
            f"but the first. With `deep_prompts: {max(0, len(blocks) - 1)}` or fewer they may."
        )
    x, mask = embeds + clip.positional_embedding[:length], clip.attn_mask[:length, :length]
    for number, block in enumerate(blocks):
        if 0 < number <= len(deep):
            prompt = deep[number - 1].to(x.dtype)
            x = torch.cat((x[:, :1], prompt, x[:, 1 + prompt.shape[1] :]), dim=1)
        x = block(x, attn_mask=mask)
    x = clip.ln_final(x[torch.arange(len(x), device=x.device), eot])
    projection = clip.text_projection
    features: Tensor = projection(x) if isinstance(projection, nn.Linear) else x @ projection
    return features
