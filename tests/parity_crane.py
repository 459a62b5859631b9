"""What a reference file of Crane holds, computed by medzsad: four ways of use and three of training.

The four layers of the authors' program are the last one four times.
"""

from dataclasses import replace
from typing import Any

import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn.functional import normalize

from medzsad.clip.guide import Guide
from medzsad.clip.tower import Tower
from medzsad.clip.vision import ImageFeatures
from medzsad.methods.crane import METHOD, Crane, CraneObjective, CraneOptions, CraneTrainOptions, pooled
from medzsad.methods.noise import SharedNoise
from medzsad.methods.prompts import cosine_logits
from tests.parity import Reference
from tests.parity_training import imported, trained

# Beginning of the keys, whether features are guided, and how the weights are used.
_USES = {
    "": (False, {}),
    "logit_mean.": (False, {"soft_mean": False}),
    "plus.": (True, {}),
    "plus_logit_mean.": (True, {"soft_mean": False}),
    "context.": (False, {"image_context": True}),
}


def computed(reference: Reference) -> dict[str, Tensor]:
    config, tensors = reference.config, reference.tensors
    spec = replace(reference.tower.spec, layers=(config["vision_layers"],))
    reference = replace(reference, tower=Tower(reference.tower.clip, spec))
    model, official = imported(reference, METHOD)
    images, given = tensors["input.image"], tensors["input.guide_features"]
    with torch.no_grad():
        plain = reference.tower.features(images)
        guided = reference.tower.features(images, Guide(given))
        text, own = model.text_embeddings(reference.tower), model.text_embeddings(reference.tower, plain.cls)
    found: dict[str, Tensor] = {"expected.text_embeddings": text[0]}
    for variant, (has_guide, options) in _USES.items():
        found |= _used(reference, model, guided if has_guide else plain, options, variant)
    for i in range(len(images)):
        found[f"expected.{i}.image_features"] = plain.cls[i]
        for layer in range(len(config["features"])):
            found[f"expected.{i}.patch_features.{layer}"] = plain.patches[0][i]
        for layer, patches in enumerate(guided.patches):
            found[f"expected.{i}.plus.patch_features.{layer}"] = patches[i]
        found[f"expected.{i}.context.text_embeddings"] = own[i]
    if "train.label" in tensors:
        of_batch = reference.tower.features(images, Guide(given, mean_of_batch=True))
        copies = len(config["features"])
        found |= _trained(reference, model, plain, official, "context", {"layer_copies": copies})
        found |= _trained(
            reference, model, plain, official, "static", {"layer_copies": copies} | {"context_probability": 0.0}
        )
        found |= _trained(reference, model, of_batch, official, "plus", {"layer_copies": 1})
    return {key: value for key, value in found.items() if key in tensors or key.startswith("train.")}


def _used(
    reference: Reference, model: Crane, features: ImageFeatures, options: dict[str, Any], variant: str
) -> dict[str, Tensor]:
    detector = reference.detector(model, CraneOptions(**options).model_dump(), 1)
    count = len(features.cls)
    prediction = detector.predict_features(features, [""] * count, SharedNoise())
    found: dict[str, Tensor] = {}
    for i in range(count):
        start = f"expected.{i}.{variant}"
        found[f"{start}anomaly_map"] = prediction.score_map[i]
        smoothed = gaussian_filter(prediction.score_map[i].numpy(), reference.config["sigma"])
        found[f"{start}anomaly_map_smoothed"] = torch.from_numpy(smoothed)
        found[f"{start}image_score"] = prediction.image_score[i]
    return found


def _trained(
    reference: Reference,
    model: Crane,
    features: ImageFeatures,
    official: dict[str, str],
    variant: str,
    options: dict[str, Any],
) -> dict[str, Tensor]:
    objective = CraneObjective(CraneTrainOptions(**(options | reference.changes)))
    found = trained(reference, model, features, objective, official, f"train.{variant}.")
    with torch.no_grad():
        context = None if variant == "static" else features.cls
        text = normalize(model.text_embeddings(reference.tower, context), dim=-1)
        layers = torch.stack([cosine_logits(patches, text) for patches in features.patches])
    found[f"train.{variant}.text_features"] = text
    found[f"train.{variant}.image_features"] = pooled(features, layers)
    return found
