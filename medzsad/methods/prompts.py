"""Prompts of learned tokens in front of fixed words, as AnomalyCLIP, Crane and FAPrompt have them (METHODS D.0)."""

from collections.abc import Iterable, Sequence

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from medzsad.clip.spec import TowerSpec
from medzsad.clip.text import token_ids
from medzsad.clip.tower import Tower
from medzsad.errors import WeightsError
from medzsad.methods.base import Options, PromptModel

NORMAL_WORDS, ABNORMAL_WORDS = "object .", "damaged object ."
TEMPERATURE = 0.07
# What these methods ask of their tower: local features of the last block, from a second stream beside the last 19.
TOWER = TowerSpec(
    image_size=518,
    layers=(24,),
    activation="quick_gelu",
    position_resize="bilinear",
    attention="vv",
    local_from=6,
    patch_post="projected",
    cls_post_norm=False,
)
_PADDING = 0


def table_ids() -> Tensor:
    """(6,) rising numbers of the tokens that stand in the authors' prompts beside the learned ones."""
    return torch.tensor(sorted({_PADDING, *token_ids(ABNORMAL_WORDS).tolist()}))


def fresh_tokens(*shape: int) -> nn.Parameter:
    """Learned tokens before training, normally distributed with a standard deviation of 0.02."""
    return nn.Parameter(0.02 * torch.randn(*shape))


class DeepPromptOptions(Options):
    """What the trainings of these methods share.

    Attributes:
        deep_prompts: Text blocks, from the second on, whose first tokens are replaced by learned ones.
        deep_tokens: Number of these tokens.
    """

    deep_prompts: int = Field(default=8, ge=0)
    deep_tokens: int = Field(default=4, ge=1)


class WordedPromptModel(PromptModel):
    """What the learned parts of these methods share; patches have to be projected into the joint space.

    Args:
        text_width: Of the text tokens.
        deep_prompts: See `DeepPromptOptions`.
        deep_tokens: As above.
        table_rows: Rows of the authors' token table, kept to tell whether a tower is theirs: as many as `table_ids`,
            or 0 in models that were trained here, whose weights file names their tower.
    """

    token_rows: Tensor

    def __init__(self, *, text_width: int, deep_prompts: int, deep_tokens: int, table_rows: int) -> None:
        super().__init__()
        self.deep = nn.ParameterList(fresh_tokens(deep_tokens, text_width) for _ in range(deep_prompts))
        self.register_buffer("token_rows", torch.zeros(table_rows, text_width))

    def check_tower(self, tower: Tower) -> None:
        """Raises a WeightsError if the tower's token table is not the very one that the authors' files hold rows of."""
        if tower.patch_width != tower.joint_width:
            raise WeightsError(
                f"Patches are compared with texts, so they have to be {tower.joint_width} wide as these are, not "
                f"{tower.patch_width}. Give the weights a spec with projected patches (patch_post: projected)."
            )
        if not len(self.token_rows):
            return
        own = tower.embed(table_ids().to(tower.clip.token_embedding.weight.device)).to(self.token_rows)
        if own.shape != self.token_rows.shape or not torch.equal(own, self.token_rows):
            raise WeightsError(
                "The prompts were learned on another CLIP tower: the token embeddings stored with them are not those "
                f"of this tower (width {self.token_rows.shape[1]} and {own.shape[1]}). Name the right one with "
                "--clip-weights."
            )


def worded(tower: Tower, learned: Tensor, words: str) -> Tensor:
    """(n, L, C) token embeddings of [start] [learned] [words] [end].

    Args:
        tower: Its text side.
        learned: (n, m, C).
        words: The same for all.
    """
    rows = tower.embed(token_ids(words).to(learned.device)).expand(len(learned), -1, -1)
    return torch.cat((rows[:, :1], learned, rows[:, 1:]), dim=1)


def encode_prompts(tower: Tower, prompts: Sequence[Tensor], deep: Iterable[Tensor]) -> Tensor:
    """(n, D) text features, not normalized, of prompts whose end token stands last.

    Args:
        tower: Its text side.
        prompts: Token embeddings (n_i, L_i, C) of groups of prompts, whose features come in this order, n = sum n_i.
        deep: Deep prompts (m, C), see `repeated_deep`.
    """
    deep = list(deep)
    found = []
    for group in prompts:
        ends = torch.full((len(group),), group.shape[1] - 1, device=group.device)
        found.append(tower.encode(group, ends, repeated_deep(deep, len(group))))
    return torch.cat(found)


def repeated_deep(deep: Iterable[Tensor], count: int) -> list[Tensor]:
    """Deep prompts (m, C) for `count` sequences, (count, m, C) each, rounded through float16 as the authors do.

    Each sequence has a copy of its own that is rounded, so that gradients are rounded before they are added up.
    """
    return [prompt.expand(count, -1, -1).half().float() for prompt in deep]


def cosine_logits(features: Tensor, text: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """(b, N, 2) logits of features (b, N, D), normalized here, for unit text features (2, D) or (b, 2, D)."""
    return normalize(features.float(), dim=-1) @ text.transpose(-1, -2) / temperature


def image_logits(features: Tensor, text: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """(b, 2) logits of features (b, D), for text as above."""
    return cosine_logits(features[:, None], text, temperature)[:, 0]
