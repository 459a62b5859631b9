"""Which context a run takes: what its options say, and what the weights say where these say nothing."""

from medzsad.config import RunConfig
from medzsad.methods.ensemble import Ensemble, Model
from medzsad.weights.card import ContextCard, ModelCard


def context_of(config: RunConfig, card: ModelCard) -> ContextCard:
    """The context of a run; weights without a record of theirs mean none: single slices of one plane, as they are."""
    given = {name: getattr(config, name) for name in ContextCard.model_fields}
    asked = {name: value for name, value in given.items() if value is not None}
    return (card.context or ContextCard()).model_copy(update=asked)


def with_context(config: RunConfig, model: Model) -> RunConfig:
    """The options with nothing of the context left to the weights, as reports and the key of a case hold them.

    The members of an ensemble keep contexts of their own where none is asked for.
    """
    if isinstance(model, Ensemble):
        return config
    return config.model_copy(update=context_of(config, model.card).model_dump())
