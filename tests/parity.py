"""Compares medzsad with numbers of the authors' programs: `python -m tests.parity FILE.safetensors [FILE...]`.

Prints one JSON object {"max_abs_error": {key: value}, "passed": bool, ...} and ends with 0 or 1. The files hold random
weights, inputs, draws and what the authors' programs computed from them, of any size; their metadata says which.
Scores and maps have to agree to 1e-5; intermediate features, whose size is not bounded by 1, to 1e-5 of their largest
number where that is above 1.

`train.stageK.loss.*` and `train.stageK.grad_norm.*` have to agree to 1e-4 of their size. What the file's numbers show:
losses are stored as the total sums them up, so "focal" and "dice" are sums over layers and each "kl_*" carries its
weight of 0.01; the log-determinants of the state distributions are weighted as in the authors' program (`legacy_kl`);
the total of stage 2 is "classification" alone, though the other parts are stored there, too. Gradient norms are those
of the stage's total under the authors' names, for the parameters that it reaches; one of ours that it reaches and the
file does not name is compared with 0, under the key `train.stageK.grad_norm.(ours) NAME`. A gradient that is 0 by
symmetry, as that of a bias in front of a softmax, is nothing but rounding in both programs: of a norm below 1e-7 of the
stage's largest one, no more is asked than that ours is as small.
"""

import json
import sys
from pathlib import Path
from typing import Any, Literal

import open_clip
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from medzsad.clip.load import tower_from_state
from medzsad.clip.spec import TowerSpec
from medzsad.clip.vision import ImageFeatures, image_features
from medzsad.errors import MedzsadError
from medzsad.methods.base import WeightsInfo
from medzsad.methods.bayes_pfl import BayesPFL
from medzsad.methods.bayes_pfl_detector import BayesPFLDetector
from medzsad.methods.importers import _renamed, translate
from medzsad.methods.noise import GivenNoise, Noise
from medzsad.training.objective import ObjectiveOptions, Truth, bayes_pfl_losses

TOLERANCE = 1e-5
TRAIN_TOLERANCE = 1e-4
_ROUNDING = 1e-7
_COMPARED = ("expected.", "train.stage")
_GIVEN = ("clip.", "prompts.", "input.", "train.mask", "train.label", "train.noise.")
_OURS = "(ours) "
# The authors' program knows no other.
_LEGACY = ObjectiveOptions(legacy_kl=True)


def compare(path: Path, options: ObjectiveOptions = _LEGACY) -> dict[str, Any]:
    """The result for one file; `options` are those of the losses."""
    try:
        with safe_open(path, "pt") as file:
            config = json.loads((file.metadata() or {})["config"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        if "sample_num" not in config:
            return _refusal("The file is not of Bayes-PFL, the only method there is so far.")
        found = _computed(config, tensors, options)
    except KeyError as error:
        return _refusal(f"{path.name} lacks {error}.")
    except (OSError, SafetensorError, ValueError, RuntimeError, MedzsadError) as error:
        return _refusal(f"{path.name}: {error}")
    expected = _expected(tensors, found)
    errors = {key: _error(found[key], expected[key]) if key in found else None for key in sorted(expected)}
    return {
        "max_abs_error": errors,
        "passed": bool(errors)
        and all(error is not None and error <= _allowed(key, expected) for key, error in errors.items()),
        "not_checked": sorted(key for key in tensors if key not in expected and not key.startswith(_GIVEN)),
    }


def _expected(tensors: dict[str, Tensor], found: dict[str, Tensor]) -> dict[str, Tensor]:
    expected = {key: value for key, value in tensors.items() if key.startswith(_COMPARED)}
    for key, value in found.items():
        if _OURS in key and any(other.startswith(key.split(_OURS)[0]) for other in tensors):
            expected[key] = torch.zeros_like(value)
    return expected


def _allowed(key: str, expected: dict[str, Tensor]) -> float:
    if key.startswith("expected."):
        return TOLERANCE * max(1.0, _size(expected[key]))
    group = key[: key.index(".", len("train.stageK.")) + 1]
    rounding = _ROUNDING * max(_size(value) for other, value in expected.items() if other.startswith(group))
    size = _size(expected[key])
    return rounding if size <= rounding else TRAIN_TOLERANCE * size


def _size(expected: Tensor) -> float:
    return float(expected.abs().max())


def _refusal(message: str) -> dict[str, Any]:
    return {"max_abs_error": {}, "passed": False, "error": message}


def _error(found: Tensor, expected: Tensor) -> float | None:
    if found.numel() != expected.numel():
        return None
    error = float((found.reshape(expected.shape).double() - expected.double()).abs().max())
    return error if error == error else None  # NaN is no agreement


def _tower_parts(config: dict[str, Any], tensors: dict[str, Tensor]) -> tuple[Any, TowerSpec]:
    spec = TowerSpec(image_size=config["image_size"], layers=tuple(config["features"]), activation=config["activation"])
    state = {key.removeprefix("clip."): value for key, value in tensors.items() if key.startswith("clip.")}
    ids, rows = state.pop("token_embedding.ids"), state.pop("token_embedding.rows")
    table = torch.zeros(max(49408, int(ids.max()) + 1), config["text_width"])
    table[ids] = rows
    model = {
        "embed_dim": config["embed_dim"],
        "vision_cfg": {
            "layers": config["vision_layers"],
            "width": config["vision_width"],
            "head_width": config["vision_width"] // max(1, config["vision_width"] // 64),
            "patch_size": config["patch_size"],
        },
        "text_cfg": {
            "context_length": len(state["positional_embedding"]),
            "vocab_size": len(table),
            "width": config["text_width"],
            "heads": max(1, config["text_width"] // 64),
            "layers": config["text_layers"],
        },
    }
    return tower_from_state(model, spec, state | {"token_embedding.weight": table}), spec


def _info(stage: int, samples: int) -> WeightsInfo:
    texts = ("sha256", "clip_name", "clip_sha256", "threshold_provenance", "licence", "source", "class_name")
    blank = dict.fromkeys((*texts, "description"), "")
    return WeightsInfo(name="parity", method="bayes_pfl", stage=stage, samples=samples, threshold=None, **blank)


def _computed(config: dict[str, Any], tensors: dict[str, Tensor], options: ObjectiveOptions) -> dict[str, Tensor]:
    clip, spec = _tower_parts(config, tensors)
    official = {key.removeprefix("prompts."): value for key, value in tensors.items() if key.startswith("prompts.")}
    translation = translate(official)
    prompts = BayesPFL(**translation.sizes)
    prompts.load_state_dict(translation.state)
    noise = Noise(*(tensors[f"input.noise.{kind}"] for kind in ("context", "normal", "abnormal")))
    images, names = tensors["input.image"], config["names"]
    found: dict[str, Tensor] = {}
    with torch.no_grad():
        features = image_features(clip, spec, images)
        text = prompts.text_embeddings(clip, features, names, noise)
    for i in range(len(images)):
        found[f"expected.{i}.image_features"] = features.cls[i]
        for layer, tokens in enumerate(features.patches):
            found[f"expected.{i}.patch_tokens.{layer}"] = tokens[i]
        found[f"expected.{i}.text_embeddings"] = text[i].transpose(0, 1)  # all normal, then all abnormal
    for stage in (1, 2):
        detector = BayesPFLDetector(clip, prompts, spec, _info(stage, config["sample_num"]))
        prediction = detector.predict(images, names, GivenNoise(noise))
        for i in range(len(images)):
            found[f"expected.{i}.stage{stage}.anomaly_map"] = prediction.score_map[i]
            found[f"expected.{i}.stage{stage}.image_score"] = prediction.image_score[i]
    if "train.label" in tensors:
        ours = {name: key for key in official if (name := _renamed(key))}
        found |= _trained(config, tensors, options, clip, prompts, features, ours)
    return found


def _trained(
    config: dict[str, Any],
    tensors: dict[str, Tensor],
    options: ObjectiveOptions,
    clip: open_clip.CLIP,
    prompts: BayesPFL,
    features: ImageFeatures,
    official: dict[str, str],
) -> dict[str, Tensor]:
    """Losses and gradient norms of both stages; `official` gives the authors' names of our parameters."""
    context, normal, abnormal = (tensors[f"train.noise.{kind}"] for kind in ("context", "normal", "abnormal"))
    noise = Noise(context.unsqueeze(1), normal, abnormal)
    labels, masks = tensors["train.label"], tensors["train.mask"]
    masks = masks.reshape(len(labels), *masks.shape[-2:])
    truth = Truth(labels.long(), masks, torch.ones(len(labels), dtype=torch.bool))
    found: dict[str, Tensor] = {}
    shown: dict[str, Tensor] = {}
    stages: tuple[Literal[1, 2], ...] = (1, 2)
    for stage in stages:
        prompts.zero_grad(set_to_none=True)
        sample = prompts.sample_prompts(features, noise)
        text = prompts.encode_prompts(clip, sample, config["names"])
        parts = bayes_pfl_losses(prompts, text, sample, features, truth, config["prompt_index"], stage, options)
        total = torch.stack(list(parts.values())).sum()
        total.backward()  # type: ignore[no-untyped-call]
        shown |= parts | {"total": total}  # the parts of stage 1 are stored in stage 2 as well
        found |= {f"train.stage{stage}.loss.{name}": value.detach() for name, value in shown.items()}
        for name, parameter in prompts.named_parameters():
            if parameter.grad is not None:
                key = f"train.stage{stage}.grad_norm.{official[name]}"
                if key not in tensors:
                    key = f"train.stage{stage}.grad_norm.{_OURS}{name}"
                found[key] = parameter.grad.double().norm().float()
    return found


def main(paths: list[str]) -> int:
    """Runs the comparison for all files; 0 if all agree."""
    if not paths:
        sys.stderr.write("usage: python -m tests.parity FILE.safetensors [FILE...]\n")
        return 1
    results = {path: compare(Path(path)) for path in paths}
    report: dict[str, Any]
    if len(results) == 1:
        report = next(iter(results.values()))
    else:
        report = {
            "max_abs_error": {
                f"{path}:{key}": error for path, one in results.items() for key, error in one["max_abs_error"].items()
            },
            "passed": all(one["passed"] for one in results.values()),
            "not_checked": sorted({key for one in results.values() for key in one.get("not_checked", ())}),
        }
        if wrong := {path: one["error"] for path, one in results.items() if "error" in one}:
            report["error"] = "; ".join(f"{path}: {message}" for path, message in wrong.items())
    sys.stdout.write(json.dumps(report, indent=1) + "\n")
    return 0 if report["passed"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
