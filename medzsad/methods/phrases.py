"""Features of plain phrases, as the text tower gives them without learned tokens."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from medzsad.clip.text import token_ids, unknown_words
from medzsad.clip.tower import Tower
from medzsad.errors import ConfigError


@torch.no_grad()
def phrase_features(tower: Tower, phrases: Sequence[str], option: str) -> Tensor:
    """(n, D) unit text features of n phrases.

    Args:
        tower: Its text side.
        phrases: In words of the tower.
        option: Where the phrases come from, named in errors.

    Raises:
        ConfigError: The tower has no embedding of a word.
    """
    found = []
    for phrase in phrases:
        if unknown := unknown_words(tower.clip, phrase):
            raise ConfigError(
                f"The tower does not know the word {unknown[0]!r} of the phrase {phrase!r}; choose other words for the "
                f"option {option}."
            )
        ids = token_ids(phrase).to(tower.clip.token_embedding.weight.device)
        found.append(tower.encode(tower.embed(ids)[None], torch.tensor([len(ids) - 1], device=ids.device)))
    return normalize(torch.cat(found), dim=-1)
