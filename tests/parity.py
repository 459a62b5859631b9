"""Compares medzsad with numbers of the authors' programs: `python -m tests.parity FILE.safetensors [FILE...]`.

Prints one JSON object {"max_abs_error": {key: value}, "passed": bool, ...} and ends with 0 or 1. The files hold random
weights, inputs, draws and what the authors' programs computed from them, of any size; their metadata says which.
Scores and maps have to agree to 1e-5; intermediate features, whose size is not bounded by 1, to 1e-5 of their largest
number where that is above 1.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from medzsad.clip.load import tower_from_state
from medzsad.clip.spec import TowerSpec
from medzsad.clip.vision import image_features
from medzsad.errors import MedzsadError
from medzsad.methods.base import WeightsInfo
from medzsad.methods.bayes_pfl import BayesPFL
from medzsad.methods.bayes_pfl_detector import BayesPFLDetector
from medzsad.methods.importers import translate
from medzsad.methods.noise import GivenNoise, Noise

TOLERANCE = 1e-5


def compare(path: Path) -> dict[str, Any]:
    """The result for one file."""
    try:
        with safe_open(path, "pt") as file:
            config = json.loads((file.metadata() or {})["config"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        if "sample_num" not in config:
            return _refusal("The file is not of Bayes-PFL, the only method there is so far.")
        found = _computed(config, tensors)
    except KeyError as error:
        return _refusal(f"{path.name} lacks {error}.")
    except (OSError, SafetensorError, ValueError, RuntimeError, MedzsadError) as error:
        return _refusal(f"{path.name}: {error}")
    expected = {key: value for key, value in tensors.items() if key.startswith("expected.")}
    errors = {key: _error(found[key], expected[key]) if key in found else None for key in sorted(expected)}
    return {
        "max_abs_error": errors,
        "passed": bool(errors)
        and all(error is not None and error <= TOLERANCE * _scale(expected[key]) for key, error in errors.items()),
        "not_checked": sorted(key for key in tensors if key.startswith("train.")),
    }


def _refusal(message: str) -> dict[str, Any]:
    return {"max_abs_error": {}, "passed": False, "error": message}


def _error(found: Tensor, expected: Tensor) -> float | None:
    if found.numel() != expected.numel():
        return None
    error = float((found.reshape(expected.shape).double() - expected.double()).abs().max())
    return error if error == error else None  # NaN is no agreement


def _scale(expected: Tensor) -> float:
    return max(1.0, float(expected.abs().max()))


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


def _computed(config: dict[str, Any], tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    clip, spec = _tower_parts(config, tensors)
    translation = translate(
        {key.removeprefix("prompts."): value for key, value in tensors.items() if key.startswith("prompts.")}
    )
    prompts = BayesPFL(**translation.sizes)
    prompts.load_state_dict(translation.state)
    noise = Noise(*(tensors[f"input.noise.{kind}"] for kind in ("context", "normal", "abnormal")))
    images, names = tensors["input.image"], config["names"]
    found: dict[str, Tensor] = {}
    with torch.inference_mode():
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
