"""What a reference file of CoPS holds, computed by medzsad, for both auxiliary modes.

"loss.patch" is stored without its weight of 4, every other part as it stands in the total; the divergence is most of
the total, so the parts are compared one by one. What the test program chooses by the name of a data set is told in the
metadata: "test_set" (METHODS B.4, B.7).
"""

from typing import Any

import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from medzsad.clip.vision import ImageFeatures
from medzsad.methods.cops.importer import our_name, translate
from medzsad.methods.cops.model import CoPS, CoPSOptions, CoPSTrainOptions
from medzsad.methods.cops.objective import CoPSObjective
from medzsad.methods.noise import GivenNoise
from medzsad.methods.objective import Truth
from tests.parity import Reference

_SIGMA = 4.0
_MODES: dict[str, dict[str, Any]] = {
    "visa": {"neighbors": 5, "reconstruction_weight": 0.0},
    "mvtec": {"neighbors": 3, "reconstruction_weight": 1.0, "legacy_reconstruction": True},
}


def computed(reference: Reference) -> dict[str, Tensor]:
    config, tensors = reference.config, reference.tensors
    official = reference.part("prompts.")
    translation = translate(official)
    model = CoPS(**translation.sizes)
    model.load_state_dict(translation.state)
    images, names = tensors["input.image"], config["names"]
    draws = {"category": tensors["input.noise.class"]}
    visa = "visa" in config["test_set"]
    options = CoPSOptions(neighbors=3, normal_share=0.35, probability_share=1.0) if visa else CoPSOptions()
    found: dict[str, Tensor] = {}
    with torch.no_grad():
        features = reference.tower.features(images)
        trace = model.trace(reference.tower, features, names, draws, options)
    detector = reference.detector(model, options.model_dump(), config["class_samples"])
    prediction = detector.predict(images, names, GivenNoise(draws))
    for i in range(len(images)):
        found[f"expected.{i}.image_features"] = features.cls[i]
        found[f"expected.{i}.patch_features.0"] = features.patches[0][i]
        found[f"expected.{i}.prototypes"] = trace["prototypes"][i]
        found[f"expected.{i}.text_features"] = trace["text_features"][i]
        found[f"expected.{i}.anomaly_map"] = prediction.score_map[i]
        smoothed = gaussian_filter(prediction.score_map[i].numpy(), _SIGMA)
        found[f"expected.{i}.anomaly_map_smoothed"] = torch.from_numpy(smoothed)
        found[f"expected.{i}.image_score"] = prediction.image_score[i]
    if "train.label" in tensors:
        model.prepare_training()
        encoder = reference.part("train.weights.")
        model.load_state_dict({name: value for key, value in encoder.items() if (name := our_name(key))}, strict=False)
        ours = {name: key for key in (*official, *encoder) if (name := our_name(key))}
        for mode in _MODES:
            found |= _trained(reference, model, features, ours, mode)
    return found


def _trained(
    reference: Reference, model: CoPS, features: ImageFeatures, official: dict[str, str], mode: str
) -> dict[str, Tensor]:
    """Losses and gradient norms of one auxiliary mode."""
    tensors = reference.tensors
    labels, masks = tensors["train.label"], tensors["train.mask"]
    truth = Truth(labels.long(), masks, torch.ones(len(labels), dtype=torch.bool))
    draws = {"category": tensors["train.noise.class"].unsqueeze(1)}
    objective = CoPSObjective(CoPSTrainOptions(**(_MODES[mode] | reference.changes)))
    model.zero_grad(set_to_none=True)
    parts = objective.losses(
        model,
        reference.tower,
        features,
        reference.config["names"],
        truth,
        draws,
        objective.stages[0],
        torch.Generator(),
    )
    total = torch.stack(list(parts.values())).sum()
    total.backward()  # type: ignore[no-untyped-call]
    stored = parts | {"patch": parts["patch"] / 4, "total": total}
    found = {f"train.{mode}.loss.{name}": value.detach() for name, value in stored.items()}
    return found | reference.gradients(model, f"train.{mode}.grad_norm.", official)
