"""What the text tower says of a sound and a damaged thing, from words and from prompts with free vectors."""

import open_clip
import torch
from torch import Tensor

from medzsad.clip.text import encode_embeddings
from recipes.medzsad_mini.captions import ABNORMAL_STATES, NORMAL_STATES, Vocabulary, pick

CONTEXT_TOKENS, STATE_TOKENS = 5, len(NORMAL_STATES)
# Root mean square of a learned token; that of the samples that are added to it is about 1 (METHODS A.3).
STATE_STRENGTH = 3.0


def text_features(clip: open_clip.CLIP, vocabulary: Vocabulary, texts: list[str]) -> Tensor:
    """(n, D) features of texts, not normalized."""
    rows, ends = vocabulary.compact(texts)
    return encode_embeddings(clip, clip.token_embedding(rows), ends)


def spoken_states(
    clip: open_clip.CLIP, names: tuple[str, ...], vocabulary: Vocabulary, source: torch.Generator | None
) -> Tensor:
    """(b, 2, D) features of "flawless NAME" and "damaged NAME" and the like; the first words without a source."""
    pairs = [
        (NORMAL_STATES[0], ABNORMAL_STATES[0])
        if source is None
        else (pick(NORMAL_STATES, source), pick(ABNORMAL_STATES, source))
        for _ in names
    ]
    texts = [f"{state} {name}" for pair, name in zip(pairs, names, strict=True) for state in pair]
    return text_features(clip, vocabulary, texts).reshape(len(names), 2, -1)


def prompted_states(
    clip: open_clip.CLIP, names: tuple[str, ...], vocabulary: Vocabulary, source: torch.Generator
) -> Tensor:
    """(b, 2, D) features of prompts laid out as Bayes-PFL's (METHODS A.2).

    Five vectors that mean nothing, then five that are the words of a state, all shifted as its samples shift them,
    then the name: so the frozen tower can read what Bayes-PFL will put there.
    """
    count, width = len(names), clip.token_embedding.embedding_dim
    rows, ends = vocabulary.compact(list(names))
    words = clip.token_embedding(rows)[:, None].expand(-1, 2, -1, -1)
    order = torch.randperm(STATE_TOKENS, generator=source)
    states = torch.stack([state_tokens(clip, vocabulary, words)[order] for words in (NORMAL_STATES, ABNORMAL_STATES)])
    shift = torch.randn(count, 2, 1, width, generator=source)
    strength = 2 * torch.rand(count, 1, 1, 1, generator=source)
    context = strength * torch.randn(count, 1, CONTEXT_TOKENS, width, generator=source)
    learned = torch.cat((context.expand(-1, 2, -1, -1), states + shift), dim=2)
    embeds = torch.cat((words[:, :, :1], learned, words[:, :, 1:]), dim=2).flatten(0, 1)
    ends = (ends + CONTEXT_TOKENS + STATE_TOKENS).repeat_interleave(2)
    return encode_embeddings(clip, embeds, ends).reshape(count, 2, -1)


def state_tokens(clip: open_clip.CLIP, vocabulary: Vocabulary, words: tuple[str, ...]) -> Tensor:
    """(len(words), D) embeddings of the words, of the strength of learned tokens."""
    rows, _ = vocabulary.compact(list(words))
    embeddings = clip.token_embedding(rows[:, 1])
    size = clip.token_embedding.weight.detach().square().mean().sqrt()
    strong: Tensor = STATE_STRENGTH * embeddings / size
    return strong
