import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from tests.parity import TOLERANCE, TRAIN_TOLERANCE, compare

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden" / "bayes_pfl.safetensors"


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    return compare(GOLDEN)


def _content() -> tuple[dict[str, Tensor], dict[str, str]]:
    with safe_open(GOLDEN, "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118


def _relative(result: dict[str, Any], prefix: str) -> dict[str, float]:
    tensors, _ = _content()
    errors = result["max_abs_error"]
    return {key: errors[key] / float(tensors[key]) for key in tensors if key.startswith(prefix)}


def test_scores_maps_and_features_agree_with_the_authors_program(result: dict[str, Any]) -> None:
    errors = {key: error for key, error in result["max_abs_error"].items() if key.startswith("expected.")}
    assert result["passed"]
    assert len(errors) == 20
    assert max(errors.values()) <= TOLERANCE


@pytest.mark.parametrize(("stage", "gradients"), [(1, 51), (2, 52)])
def test_losses_and_gradient_norms_agree_with_the_authors_program(
    result: dict[str, Any], stage: int, gradients: int
) -> None:
    losses = _relative(result, f"train.stage{stage}.loss.")
    assert len(losses) == 8
    assert max(losses.values()) <= TRAIN_TOLERANCE
    norms = _relative(result, f"train.stage{stage}.grad_norm.")
    assert len(norms) == gradients
    assert {key for key, error in norms.items() if error > TRAIN_TOLERANCE} <= {
        "train.stage2.grad_norm.fuse.compress.bias"  # 0 but for rounding: a softmax ignores it
    }


def test_every_value_of_the_file_is_compared(result: dict[str, Any]) -> None:
    tensors, _ = _content()
    assert result["not_checked"] == []
    assert set(result["max_abs_error"]) == {key for key in tensors if key.startswith(("expected.", "train.stage"))}


def _failed(result: dict[str, Any]) -> set[str]:
    """Keys of training values that are off by more than ten times what is asked."""
    errors = _relative(result, "train.stage")
    return {key for key, error in errors.items() if error > 10 * TRAIN_TOLERANCE and not key.endswith("compress.bias")}


def test_the_divergence_without_the_authors_weighting_is_seen() -> None:
    result = compare(GOLDEN, legacy_kl=False)
    assert not result["passed"]
    failed = _failed(result)
    assert {f"train.stage{stage}.loss.kl_{state}" for stage in (1, 2) for state in ("normal", "abnormal")} <= failed
    assert "train.stage1.grad_norm.PFL_normal.amor_u" in failed
    assert not [key for key in failed if "context" in key or "stage2.grad_norm" in key]


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("prompts.fuse.post_process.bias", "stage2.loss.classification"),
        ("prompts.class_mapping.bias", "stage1.grad_norm.class_mapping.weight"),
        ("prompts.RCA.linear_proj.2.weight", "stage1.loss.focal"),
        ("prompts.PFL_context.amor_u.bias", "stage1.loss.kl_context"),
        ("train.noise.context", "stage1.loss.kl_context"),
        ("train.noise.abnormal", "stage1.grad_norm.PFL_abnormal.amor_w"),
        ("train.mask", "stage1.loss.focal"),
        ("train.stage2.grad_norm.temperature_image", "stage2.grad_norm.temperature_image"),
    ],
)
def test_a_change_of_the_numbers_of_the_training_is_seen(tmp_path: Path, name: str, wrong: str) -> None:
    tensors, metadata = _content()
    tensors[name].flatten()[:64] += 1
    path = tmp_path / "changed.safetensors"
    save_file(tensors, path, metadata)
    result = compare(path)
    assert not result["passed"]
    assert result["max_abs_error"][f"train.{wrong}"] > 10 * TRAIN_TOLERANCE * float(tensors[f"train.{wrong}"])


def test_swapped_labels_and_another_prompt_pair_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "changed.safetensors"
    tensors, metadata = _content()
    config = json.loads(metadata["config"])
    save_file(tensors, path, {"config": json.dumps(config | {"prompt_index": 0})})
    assert {f"train.stage{stage}.grad_norm.prompt_context" for stage in (1, 2)} <= _failed(compare(path))
    save_file(tensors | {"train.label": tensors["train.label"].flip(0)}, path, metadata)
    assert "train.stage1.loss.classification" in _failed(compare(path))


def test_a_gradient_that_the_authors_do_not_have_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "changed.safetensors"
    tensors, metadata = _content()
    del tensors["train.stage1.grad_norm.prompt_context"]
    save_file(tensors, path, metadata)
    result = compare(path)
    assert not result["passed"]
    assert result["max_abs_error"]["train.stage1.grad_norm.(ours) prompt_context"] > 0.01


def test_a_value_that_is_not_a_number_never_agrees(tmp_path: Path) -> None:
    path = tmp_path / "changed.safetensors"
    tensors, metadata = _content()
    tensors["train.stage1.loss.total"] = torch.full((1,), torch.nan)
    save_file(tensors, path, metadata)
    result = compare(path)
    assert not result["passed"]
    assert result["max_abs_error"]["train.stage1.loss.total"] is None


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("prompts.PFL_normal.amor_u", "stage1.anomaly_map"),
        ("prompts.image_mapping.weight", "stage2.image_score"),
        ("prompts.RCA.linear_proj.2.weight", "stage2.anomaly_map"),
        ("clip.visual.transformer.resblocks.4.mlp.c_fc.weight", "image_features"),
        ("input.noise.context", "text_embeddings"),
    ],
)
def test_a_change_of_one_weight_is_seen(tmp_path: Path, name: str, wrong: str) -> None:
    tensors, metadata = _content()
    tensors[name].flatten()[3] += 0.5
    path = tmp_path / "changed.safetensors"
    save_file(tensors, path, metadata)
    result = compare(path)
    assert not result["passed"]
    assert result["max_abs_error"][f"expected.0.{wrong}"] > TOLERANCE


def test_the_program_prints_one_json_object_and_ends_with_the_verdict(tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"nothing")
    command = [sys.executable, "-m", "tests.parity", str(broken), str(tmp_path / "absent.safetensors")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert report["passed"] is False
    assert "broken.safetensors" in report["error"]
    assert "Traceback" not in done.stderr


COPS = ROOT / "tests" / "golden" / "cops.safetensors"


@pytest.fixture(scope="module")
def cops() -> dict[str, Any]:
    return compare(COPS)


def test_cops_agrees_with_the_authors_program_in_every_value(cops: dict[str, Any]) -> None:
    with safe_open(COPS, "pt") as file:
        names = {key for key in file.keys() if key.startswith(("expected.", "train.visa.", "train.mvtec."))}  # noqa: SIM118
    assert cops["passed"]
    assert cops["method"] == "cops"
    assert cops["not_checked"] == []
    assert set(cops["max_abs_error"]) == names
    scores = [error for key, error in cops["max_abs_error"].items() if key.endswith(("anomaly_map", "image_score"))]
    assert len(scores) == 4
    assert max(scores) <= TOLERANCE


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"legacy_reconstruction": False}, "train.mvtec.loss.reconstruction"),
        ({"neighbors": 3}, "train.visa.loss.gather"),
        ({"reconstruction_weight": 0.5}, "train.visa.loss.reconstruction"),
    ],
    ids=str,
)
def test_another_training_of_cops_is_seen(changes: dict[str, Any], wrong: str) -> None:
    result = compare(COPS, **changes)
    assert not result["passed"]
    with safe_open(COPS, "pt") as file:
        expected = float(file.get_tensor(wrong))
    assert result["max_abs_error"][wrong] > 10 * TRAIN_TOLERANCE * abs(expected)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("prompts.ctx_neg", "expected.0.text_features"),
        ("prompts.t_a", "expected.0.prototypes"),
        ("prompts.vae_decoder.net.2.weight", "expected.0.text_features"),
        ("prompts.compound_prompts_text.1", "expected.0.image_score"),
        ("clip.visual.transformer.resblocks.4.attn.in_proj_weight", "expected.0.patch_features.0"),
        ("input.noise.class", "expected.0.text_features"),
    ],
)
def test_a_change_of_one_weight_of_cops_is_seen(tmp_path: Path, name: str, wrong: str) -> None:
    with safe_open(COPS, "pt") as file:
        tensors, metadata = {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118
    tensors[name].flatten()[3] += 1
    path = tmp_path / "changed.safetensors"
    save_file(tensors, path, metadata)
    result = compare(path)
    assert not result["passed"]
    assert result["max_abs_error"][wrong] > TOLERANCE


# Changes of what a program is given, and a value in which each has to be seen.
SIBLINGS = {
    "anomalyclip": [
        ("prompts.ctx_neg", "expected.0.text_embeddings"),
        ("prompts.compound_prompts_text.7", "expected.1.image_score"),
        ("clip.visual.transformer.resblocks.20.attn.in_proj_weight", "expected.2.patch_features.3"),
        ("train.mask", "train.loss.dice_normal"),
    ],
    "crane": [
        ("prompts.ctx_pos", "expected.text_embeddings"),
        ("input.guide_features", "expected.0.plus.patch_features.0"),
        ("clip.visual.transformer.resblocks.23.ln_1.weight", "expected.1.plus.anomaly_map"),
        ("clip.visual.transformer.resblocks.10.attn.in_proj_weight", "expected.1.patch_features.2"),
        ("train.mask", "train.context.loss.focal"),
    ],
    "faprompt": [
        ("prompts.ctx_neg", "expected.text_embeddings"),
        ("prompts.patch_meta_net.linear1.bias", "expected.2.bias"),
        ("prompts.patch_meta_net.linear2.weight", "expected.1.adapted_text_features"),
        ("clip.visual.transformer.resblocks.23.attn.out_proj.weight", "expected.0.map_maximum"),
        ("train.mask", "train.loss.focal2"),
    ],
}


@pytest.mark.parametrize("name", SIBLINGS)
def test_the_siblings_agree_with_the_authors_programs_in_every_value(name: str) -> None:
    path = ROOT / "tests" / "golden" / f"{name}.safetensors"
    found = compare(path)
    with safe_open(path, "pt") as file:
        given = ("train.mask", "train.label", "train.tokens_context")
        names = {key for key in file.keys() if key.startswith(("expected.", "train.")) and key not in given}  # noqa: SIM118
    assert found["passed"], found
    assert (found["method"], found["not_checked"]) == (name, [])
    assert set(found["max_abs_error"]) == names
    scores = {key: error for key, error in found["max_abs_error"].items() if key.endswith(("map", "score"))}
    assert max(scores.values()) <= TOLERANCE
    assert {key.split(".")[0] for key in names} == {"expected", "train"}


@pytest.mark.parametrize(
    ("method", "name", "wrong"), [(method, *change) for method, changes in SIBLINGS.items() for change in changes]
)
def test_a_change_of_one_input_of_the_siblings_is_seen(tmp_path: Path, method: str, name: str, wrong: str) -> None:
    with safe_open(ROOT / "tests" / "golden" / f"{method}.safetensors", "pt") as file:
        tensors, metadata = {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118
    tensors[name].flatten()[:64] += 0.5
    path = tmp_path / "changed.safetensors"
    save_file(tensors, path, metadata)
    result = compare(path)
    assert not result["passed"]
    assert result["max_abs_error"][wrong] > 10 * TOLERANCE


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [({"layer_copies": 1}, "train.context.loss.dice"), ({"context_probability": 1.0}, "train.static.loss.image")],
    ids=str,
)
def test_another_training_of_crane_is_seen(changes: dict[str, Any], wrong: str) -> None:
    path = ROOT / "tests" / "golden" / "crane.safetensors"
    result = compare(path, **changes)
    assert not result["passed"]
    with safe_open(path, "pt") as file:
        expected = float(file.get_tensor(wrong))
    assert result["max_abs_error"][wrong] > 10 * TRAIN_TOLERANCE * abs(expected)


def test_a_file_of_an_unknown_method_is_refused_with_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"expected.0.image_score": torch.zeros(1)}, path, {"config": json.dumps({"method": "palmistry"})})
    result = compare(path)
    assert not result["passed"]
    assert "palmistry" in result["error"]
