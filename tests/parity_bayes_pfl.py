"""What a reference file of Bayes-PFL holds, computed by medzsad.

Losses are stored as the total sums them up, so "focal" and "dice" are sums over layers and each "kl_*" carries its
weight of 0.01; the log-determinants of the state distributions are weighted as in the authors' program (`legacy_kl`);
the total of stage 2 is "classification" alone, though the other parts are stored there, too.
"""

from typing import Literal

import torch
from torch import Tensor

from medzsad.clip.vision import ImageFeatures
from medzsad.methods.bayes_pfl.importer import our_name, translate
from medzsad.methods.bayes_pfl.model import BayesPFL, BayesPFLOptions, BayesPFLTrainOptions
from medzsad.methods.bayes_pfl.objective import bayes_pfl_losses
from medzsad.methods.noise import GivenNoise
from medzsad.methods.objective import Truth
from tests.parity import Reference


def computed(reference: Reference) -> dict[str, Tensor]:
    config, tensors = reference.config, reference.tensors
    official = reference.part("prompts.")
    translation = translate(official)
    model = BayesPFL(**translation.sizes)
    model.load_state_dict(translation.state)
    draws = reference.part("input.noise.")
    images, names = tensors["input.image"], config["names"]
    found: dict[str, Tensor] = {}
    with torch.no_grad():
        features = reference.tower.features(images)
        text = model.trace(reference.tower, features, names, draws, BayesPFLOptions())["text_embeddings"]
    for i in range(len(images)):
        found[f"expected.{i}.image_features"] = features.cls[i]
        for layer, tokens in enumerate(features.patches):
            found[f"expected.{i}.patch_tokens.{layer}"] = tokens[i]
        found[f"expected.{i}.text_embeddings"] = text[i]  # all normal, then all abnormal
    for stage in (1, 2):
        detector = reference.detector(model, {"stage": stage}, config["sample_num"])
        prediction = detector.predict(images, names, GivenNoise(draws))
        for i in range(len(images)):
            found[f"expected.{i}.stage{stage}.anomaly_map"] = prediction.score_map[i]
            found[f"expected.{i}.stage{stage}.image_score"] = prediction.image_score[i]
    if "train.label" in tensors:
        ours = {name: key for key in official if (name := our_name(key))}
        found |= _trained(reference, model, features, ours)
    return found


def _trained(
    reference: Reference, model: BayesPFL, features: ImageFeatures, official: dict[str, str]
) -> dict[str, Tensor]:
    """Losses and gradient norms of both stages."""
    config, tensors = reference.config, reference.tensors
    draws = reference.part("train.noise.")
    draws["context"] = draws["context"].unsqueeze(1)
    labels, masks = tensors["train.label"], tensors["train.mask"]
    masks = masks.reshape(len(labels), *masks.shape[-2:])
    truth = Truth(labels.long(), masks, torch.ones(len(labels), dtype=torch.bool))
    options = BayesPFLTrainOptions(**({"legacy_kl": True} | reference.changes))
    found: dict[str, Tensor] = {}
    shown: dict[str, Tensor] = {}
    stages: tuple[Literal[1, 2], ...] = (1, 2)
    for stage in stages:
        model.zero_grad(set_to_none=True)
        sample = model.sample_prompts(features, draws)
        text = model.encode_prompts(reference.tower, sample, config["names"])
        parts = bayes_pfl_losses(model, text, sample, features, truth, config["prompt_index"], stage, options)
        total = torch.stack(list(parts.values())).sum()
        total.backward()  # type: ignore[no-untyped-call]
        shown |= parts | {"total": total}  # the parts of stage 1 are stored in stage 2 as well
        found |= {f"train.stage{stage}.loss.{name}": value.detach() for name, value in shown.items()}
        found |= reference.gradients(model, f"train.stage{stage}.grad_norm.", official)
    return found
