"""The one detector: a tower, the learned part of any method, and how the two are used."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from pydantic import BaseModel
from torch import Tensor, nn

from medzsad.clip.text import known_words, unknown_words
from medzsad.clip.tower import Tower
from medzsad.clip.vision import ImageFeatures
from medzsad.config import checked_model
from medzsad.errors import ConfigError
from medzsad.methods.base import Method, Prediction, PromptModel
from medzsad.methods.noise import NoiseSource
from medzsad.weights.card import WeightsCard


class Detector(nn.Module):
    """A method with its tower and weights, ready to score.

    Args:
        tower: Frozen.
        model: Trained part that fits it.
        method: Of the model.
        card: Of the weights; its options and samples decide how predictions are made.

    Raises:
        ConfigError: The options of the card are not the method's.
        WeightsError: The model was learned on another tower.
    """

    def __init__(self, tower: Tower, model: PromptModel, method: Method, card: WeightsCard) -> None:
        super().__init__()
        self.clip, self.backbone, self.model = tower.clip, tower.backbone, model
        self.spec, self.method, self.card = tower.spec, method, card
        self.tower = tower
        self.options = checked_options(method.options, card.options, f"weights {card.name}")
        model.check_options(self.options)
        model.check_tower(tower)

    @property
    def device(self) -> torch.device:
        """Where the detector runs."""
        return next(self.parameters()).device

    @torch.inference_mode()
    def predict(self, images: Tensor, class_names: Sequence[str], noise: NoiseSource) -> Prediction:
        """Scores of a batch of images, independent of its size and order if the noise is.

        Args:
            images: (b, 3, H, W), CLIP-normalized, H = W = spec.image_size.
            class_names: One per image.
            noise: Source of the prompt samples.

        Raises:
            ConfigError: The images have another size, or their number differs from that of the class names.
        """
        side = self.spec.image_size
        if images.ndim != 4 or tuple(images.shape[1:]) != (3, side, side):
            raise ConfigError(f"Images of shape (b, 3, {side}, {side}) are needed, got {tuple(images.shape)}.")
        if len(class_names) != len(images):
            raise ConfigError(f"{len(images)} images came with {len(class_names)} class names; one each is needed.")
        return self.predict_features(self.tower.features(images), class_names, noise)

    @torch.no_grad()
    def predict_features(
        self,
        features: ImageFeatures,
        class_names: Sequence[str],
        noise: NoiseSource,
        size: tuple[int, int] | None = None,
    ) -> Prediction:
        """Scores of images from the features of the detector's tower.

        Args:
            features: Of (b) images.
            class_names: One per image.
            noise: Source of the prompt samples.
            size: (H, W) of the map; None takes that of the tower's images.
        """
        shapes = self.model.draw_shapes(self.card.samples)
        draws = noise.draw(len(class_names), shapes, self.model.shared_draws)
        draws = {name: draw.to(features.cls.device) for name, draw in draws.items()}
        side = self.spec.image_size
        prediction: Prediction = self.model(
            self.tower, features, class_names, draws, size or (side, side), self.options
        )
        return prediction

    @property
    def adapts(self) -> bool:
        """Whether each image changes how the next ones are scored, until `model.reset` is called."""
        return bool(getattr(self.options, "adapt", False))

    @property
    def uses_class_names(self) -> bool:
        """Whether the word for an object takes part in the prompts."""
        return self.model.uses_class_names

    def word(self, wanted: str | None = None) -> str:
        """The word for the object in the prompts: the wanted one, else that of the weights; "" if none takes part.

        Raises:
            ConfigError: The method uses no word, or the tower has no embedding of this one.
        """
        if not self.uses_class_names:
            if wanted:
                raise ConfigError(
                    f"The method {self.method.title} uses no class name, so {wanted!r} would do nothing; leave it out."
                )
            return ""
        name = wanted or self.card.class_name
        if unknown := unknown_words(self.clip, self.model.words_for(name)):
            raise ConfigError(
                f"The weights {self.card.name} do not know the word {unknown[0]!r}, so the class name {name!r} would "
                f"mean nothing to them. Their words are: {', '.join(known_words(self.clip))}."
            )
        return name

    def frozen(self) -> Self:
        """The detector itself, in evaluation mode and without gradients."""
        return self.eval().requires_grad_(False)


def checked_options(model: type[BaseModel], options: Mapping[str, Any], where: str) -> Any:
    """A model of options from plain values.

    Raises:
        ConfigError: A key is unknown (the nearest known one is named) or a value is wrong.
    """
    return checked_model(model, options, where)
