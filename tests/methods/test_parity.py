import json
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.torch import save_file

from tests.parity import TOLERANCE, compare

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden" / "bayes_pfl.safetensors"


def test_scores_maps_and_features_agree_with_the_authors_program() -> None:
    result = compare(GOLDEN)
    assert result["passed"]
    assert len(result["max_abs_error"]) == 20
    assert max(result["max_abs_error"].values()) <= TOLERANCE


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
    with safe_open(GOLDEN, "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
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


def test_a_file_of_another_method_is_refused_with_a_sentence() -> None:
    path = ROOT.parent / "shared" / "reference" / "cops.safetensors"
    if not path.is_file():
        pytest.skip("reference numbers of CoPS are not on this computer")
    result = compare(path)
    assert not result["passed"]
    assert "not of Bayes-PFL" in result["error"]
