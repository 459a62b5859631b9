"""What a reference file of FAPrompt holds, computed by medzsad; its program reads the last layer alone."""

from dataclasses import replace

import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from medzsad.clip.tower import Tower
from medzsad.methods.faprompt import METHOD, FAPromptObjective, FAPromptTrainOptions, text_pair
from medzsad.methods.noise import SharedNoise
from tests.parity import Reference
from tests.parity_training import imported, trained


def computed(reference: Reference) -> dict[str, Tensor]:
    images = reference.tensors["input.image"]
    spec = replace(reference.tower.spec, layers=(reference.config["vision_layers"],))
    reference = replace(reference, tower=Tower(reference.tower.clip, spec))
    model, official = imported(reference, METHOD)
    with torch.no_grad():
        features = reference.tower.features(images)
        compared = model.compare(reference.tower, features)
    prediction = reference.detector(model, {}, 1).predict(images, [""] * len(images), SharedNoise())
    found: dict[str, Tensor] = {"expected.text_embeddings": compared.static}
    for i in range(len(images)):
        found[f"expected.{i}.image_features"] = features.cls[i]
        found[f"expected.{i}.patch_features.0"] = features.patches[0][i]
        found[f"expected.{i}.bias"] = compared.shift[i]
        found[f"expected.{i}.adapted_text_embeddings"] = compared.adapted[i]
        found[f"expected.{i}.adapted_text_features"] = text_pair(compared.adapted)[i]
        found[f"expected.{i}.map_maximum"] = compared.maxima[i]
        found[f"expected.{i}.image_probability"] = compared.probability[i]
        found[f"expected.{i}.image_score"] = prediction.image_score[i]
        found[f"expected.{i}.anomaly_map"] = prediction.score_map[i]
        smoothed = gaussian_filter(prediction.score_map[i].numpy(), reference.config["sigma"])
        found[f"expected.{i}.anomaly_map_smoothed"] = torch.from_numpy(smoothed)
    if "train.label" in reference.tensors:
        objective = FAPromptObjective(FAPromptTrainOptions(**reference.changes))
        found |= trained(reference, model, features, objective, official, "train.")
        found["train.score"] = compared.score
    return found
