"""Compares medzsad with numbers of the authors' programs: `python -m tests.parity FILE.safetensors [FILE...]`.

Prints one JSON object {"max_abs_error": {key: value}, "passed": bool, ...} and ends with 0 or 1. The files hold random
weights, inputs, draws and what the authors' programs computed from them, of any size; their metadata says which method
they are of. What a method's file holds is told in `tests/parity_<method>.py`.

Scores and maps have to agree to 1e-5; intermediate features, whose size is not bounded by 1, to 1e-5 of their largest
number where that is above 1. Losses and gradient norms have to agree to 1e-4 of their size, part by part. Gradient
norms are those of the total under the authors' names, for the parameters that it reaches; one of ours that it reaches
and the file does not name is compared with 0, under a key with "(ours)". A gradient that is 0 by symmetry, as that of
a bias in front of a softmax, is nothing but rounding in both programs: of a norm below 1e-7 of the group's largest one,
no more is asked than that ours is as small.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from medzsad.clip.tower import Tower, tower_from_state
from medzsad.errors import MedzsadError
from medzsad.methods.base import Method, PromptModel
from medzsad.methods.detector import Detector
from medzsad.methods.registry import METHODS, find_method
from medzsad.weights.card import WeightsCard

TOLERANCE = 1e-5
TRAIN_TOLERANCE = 1e-4
_ROUNDING = 1e-7
_COMPARED = ("expected.", "train.")
_GIVEN = (
    *("clip.", "prompts.", "input."),
    *("train.mask", "train.label", "train.noise.", "train.weights.", "train.tokens_context"),
)
OURS = "(ours) "

Tensors = dict[str, Tensor]
Computed = Callable[["Reference", Any], Tensors]


@dataclass(frozen=True, slots=True)
class Reference:
    """A file of reference numbers.

    Attributes:
        method: Whose numbers they are.
        config: Sizes and names.
        tensors: All tensors.
        tower: Built of the file's numbers, as the method asks.
    """

    method: Method
    config: dict[str, Any]
    tensors: Tensors
    tower: Tower
    changes: dict[str, Any] = field(default_factory=dict)

    def part(self, prefix: str) -> Tensors:
        """The tensors whose names begin so, without that beginning."""
        return {key.removeprefix(prefix): value for key, value in self.tensors.items() if key.startswith(prefix)}

    def detector(self, model: PromptModel, options: dict[str, Any], samples: int) -> Detector:
        """A detector of the file's tower."""
        card = WeightsCard(
            name="parity", method=self.method.name, spec=self.tower.spec, clip_name="", options=options, samples=samples
        )
        return Detector(self.tower, model, self.method, card)

    def gradients(self, model: nn.Module, prefix: str, official: dict[str, str]) -> Tensors:
        """Norms of a model's gradients under the authors' names; `official` gives these by ours."""
        found = {}
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                key = f"{prefix}{official.get(name, '')}"
                key = key if key in self.tensors else f"{prefix}{OURS}{name}"
                found[key] = parameter.grad.double().norm().float()
        return found


def compare(path: Path, **changes: Any) -> dict[str, Any]:
    """The result for one file; `changes` are train options that differ from the authors'."""
    try:
        with safe_open(path, "pt") as file:
            config = json.loads((file.metadata() or {})["config"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        name = _method_name(config)
        if name not in METHODS:
            return _refusal(f"{path.name} is of the method {name!r}; known are {', '.join(METHODS)}.")
        method = find_method(name)
        reference = Reference(method, config, tensors, _tower(method, config, tensors), changes)
        found: Tensors = import_module(f"tests.parity_{name}").computed(reference)
    except KeyError as error:
        return _refusal(f"{path.name} lacks {error}.")
    except (OSError, SafetensorError, ValueError, RuntimeError, MedzsadError) as error:
        return _refusal(f"{path.name}: {error}")
    expected = _expected(tensors, found)
    errors = {key: _error(found[key], expected[key]) if key in found else None for key in sorted(expected)}
    return {
        "method": name,
        "max_abs_error": errors,
        "passed": bool(errors)
        and all(error is not None and error <= _allowed(key, expected) for key, error in errors.items()),
        "not_checked": sorted(key for key in tensors if key not in expected and not key.startswith(_GIVEN)),
    }


def _method_name(config: dict[str, Any]) -> str:
    """The method of a file; the oldest two kinds do not name theirs."""
    if "method" in config:
        return str(config["method"])
    return "cops" if "class_samples" in config else "bayes_pfl"


def _expected(tensors: Tensors, found: Tensors) -> Tensors:
    expected = {
        key: value for key, value in tensors.items() if key.startswith(_COMPARED) and not key.startswith(_GIVEN)
    }
    for key, value in found.items():
        if OURS in key and any(other.startswith(key.split(OURS)[0]) for other in tensors):
            expected[key] = torch.zeros_like(value)
    return expected


def _allowed(key: str, expected: Tensors) -> float:
    if key.startswith("expected."):
        return TOLERANCE * max(1.0, _size(expected[key]))
    if ".grad_norm." not in key:
        return TRAIN_TOLERANCE * _size(expected[key])
    group = key.split(".grad_norm.")[0]
    rounding = _ROUNDING * max(_size(value) for other, value in expected.items() if other.startswith(f"{group}."))
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


def _tower(method: Method, config: dict[str, Any], tensors: Tensors) -> Tower:
    """The file's tower, asked for what the method asks of its published one."""
    spec = replace(
        method.spec,
        image_size=config["image_size"],
        layers=tuple(config["features"]),
        activation=config["activation"],
    )
    if "dual_blocks" in config:
        spec = replace(spec, local_from=config["vision_layers"] - config["dual_blocks"] + 1)
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
    return Tower(tower_from_state(model, spec, state | {"token_embedding.weight": table}), spec)


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
            "methods": {path: one.get("method", "") for path, one in results.items()},
            "passed": all(one["passed"] for one in results.values()),
            "not_checked": sorted({key for one in results.values() for key in one.get("not_checked", ())}),
        }
        if wrong := {path: one["error"] for path, one in results.items() if "error" in one}:
            report["error"] = "; ".join(f"{path}: {message}" for path, message in wrong.items())
    sys.stdout.write(json.dumps(report, indent=1) + "\n")
    return 0 if report["passed"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
