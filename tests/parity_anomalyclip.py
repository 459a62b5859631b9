"""What a reference file of AnomalyCLIP holds, computed by medzsad.

The authors' map is the sum over layers, that of medzsad the mean.
"""

import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn.functional import normalize

from medzsad.methods.anomalyclip import METHOD
from medzsad.methods.noise import SharedNoise
from medzsad.methods.object_prompts import ObjectPromptObjective, ObjectPromptOptions
from tests.parity import Reference
from tests.parity_training import imported, trained


def computed(reference: Reference) -> dict[str, Tensor]:
    images = reference.tensors["input.image"]
    model, official = imported(reference, METHOD)
    with torch.no_grad():
        features = reference.tower.features(images)
        text = model.text_embeddings(reference.tower)
    prediction = reference.detector(model, {}, 1).predict(images, [""] * len(images), SharedNoise())
    maps = len(features.patches) * prediction.score_map
    found: dict[str, Tensor] = {}
    for i in range(len(images)):
        found[f"expected.{i}.image_features"] = features.cls[i]
        found |= {f"expected.{i}.patch_features.{layer}": one[i] for layer, one in enumerate(features.patches)}
        found[f"expected.{i}.text_embeddings"] = text
        found[f"expected.{i}.text_features"] = normalize(text, dim=-1)
        found[f"expected.{i}.anomaly_map"] = maps[i]
        smoothed = gaussian_filter(maps[i].numpy(), reference.config["sigma"])
        found[f"expected.{i}.anomaly_map_smoothed"] = torch.from_numpy(smoothed)
        found[f"expected.{i}.image_score"] = prediction.image_score[i]
    if "train.label" in reference.tensors:
        objective = ObjectPromptObjective(ObjectPromptOptions(**reference.changes))
        found |= trained(reference, model, features, objective, official, "train.")
    return found
