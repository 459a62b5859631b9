"""Bayes-PFL with its tower: from images to score maps."""

from collections.abc import Sequence

import open_clip
import torch
from torch import Tensor, nn

from medzsad.clip.spec import TowerSpec
from medzsad.clip.vision import image_features
from medzsad.errors import ConfigError
from medzsad.methods.base import Prediction, WeightsInfo
from medzsad.methods.bayes_pfl import BayesPFL
from medzsad.methods.maps import score_maps
from medzsad.methods.noise import NoiseSource


class BayesPFLDetector(nn.Module):
    """A CLIP tower and the prompts of Bayes-PFL.

    Args:
        clip: From `medzsad.clip.load`.
        prompts: Trained module that fits it.
        spec: Of the tower.
        info: Of the weights; `stage` and `samples` decide how predictions are made.
    """

    def __init__(self, clip: open_clip.CLIP, prompts: BayesPFL, spec: TowerSpec, info: WeightsInfo) -> None:
        super().__init__()
        self.clip = clip
        self.prompts = prompts
        self.spec = spec
        self.info = info

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
        self._check(images, class_names)
        features = image_features(self.clip, self.spec, images)
        draws = noise.draw(len(images), self.info.samples, self.prompts.sizes["width"])
        text = self.prompts.text_embeddings(self.clip, features, class_names, draws)
        layers = self.prompts.pixel_logits(features, text)
        side = self.spec.image_size
        score_map, spread = score_maps(layers, features.grid, (side, side), self.info.samples)
        image_logits = self.prompts.image_logits(features, text, self.info.stage)
        image_score = image_logits.softmax(dim=-1)[..., 1].mean(dim=1)
        return Prediction(score_map, image_score, spread)

    def _check(self, images: Tensor, class_names: Sequence[str]) -> None:
        side = self.spec.image_size
        if images.ndim != 4 or tuple(images.shape[1:]) != (3, side, side):
            raise ConfigError(f"Images of shape (b, 3, {side}, {side}) are needed, got {tuple(images.shape)}.")
        if len(class_names) != len(images):
            raise ConfigError(f"{len(images)} images came with {len(class_names)} class names; one each is needed.")
