"""The command from data to metrics: kept scores, bad data, protocols, volumes, comparisons."""

import json
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score

from medzsad.cli import main
from medzsad.evaluation.config import read_evaluate_config
from medzsad.evaluation.score_cache import KeptScores
from medzsad.evaluation.synthetic import HEADS, make_head, write_synthetic

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def _run(*words: object) -> Result:
    return CliRunner().invoke(main, ["evaluate", *map(str, words)])


def _results(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "results.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def brains(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Slices of generated heads as a ColonDB-like set of images and masks."""
    root = tmp_path_factory.mktemp("brains") / "my set"
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for number in range(4):
        gray, lesions = make_head(number)
        k = int(lesions.sum(axis=(0, 1)).argmax())
        pixels = np.rint(np.clip(gray[:, :, k].T / 1.5, 0, 1) * 255).astype(np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"head {number}.JPG", quality=95)
        Image.fromarray((lesions[:, :, k].T * 255).astype(np.uint8)).save(root / "masks" / f"head {number}.png")
    return root


@pytest.fixture(scope="module")
def evaluated(brains: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("evaluated") / "out"
    done = _run("--benchmark", "colondb", "--data", brains, "-o", out, "--class-name", "brain")
    assert done.exit_code == 0, done.output
    return out


def test_metrics_equal_scikit_learn_on_the_kept_maps(evaluated: Path, brains: Path) -> None:
    (benchmark,) = _results(evaluated)["benchmarks"]
    kept = KeptScores(evaluated / "colondb", None)
    scores, truth = [], []
    for number in range(4):
        with Image.open(brains / "masks" / f"head {number}.png") as mask:
            truth.append(np.asarray(mask).ravel() > 0)
        with Image.open(brains / "images" / f"head {number}.JPG") as image:
            size = image.size
        stored = Image.fromarray(kept.read_map(f"images/head {number}.JPG"))
        side, (width, height) = stored.size[0], size
        inner = (round(width * side / max(size)), round(height * side / max(size)))
        left, top = (side - inner[0]) // 2, (side - inner[1]) // 2
        part = stored.crop((left, top, left + inner[0], top + inner[1]))
        scores.append(np.asarray(part.resize(size, Image.Resampling.BILINEAR)).ravel())
    metrics = benchmark["mean"]
    # Pillow's bilinear filter averages where it shrinks, as torch's antialiasing does.
    assert metrics["pixel_auroc"]["value"] == pytest.approx(
        roc_auc_score(np.concatenate(truth), np.concatenate(scores)), abs=1e-4
    )
    assert metrics["pixel_ap"]["value"] == pytest.approx(
        average_precision_score(np.concatenate(truth), np.concatenate(scores)), abs=1e-3
    )


def test_sets_of_abnormal_images_only_have_no_image_metrics_and_say_why(evaluated: Path) -> None:
    (benchmark,) = _results(evaluated)["benchmarks"]
    assert benchmark["mean"]["image_auroc"] == {
        "value": None,
        "low": None,
        "high": None,
        "reason": "there are no normal images",
    }
    text = (evaluated / "report.html").read_text(encoding="utf-8")
    assert "there are no normal images" in text
    assert "plain: " in text


def test_unexpected_counts_are_told(evaluated: Path) -> None:
    (benchmark,) = _results(evaluated)["benchmarks"]
    assert "unexpected_count" in {problem["kind"] for problem in benchmark["problems"]}


def test_kept_scores_give_the_same_metrics_without_the_model(evaluated: Path, tmp_path: Path) -> None:
    done = _run("--scores-from", evaluated, "-o", tmp_path / "again", "-q")
    assert done.exit_code == 0, done.output
    first, second = _results(evaluated), _results(tmp_path / "again")
    assert first["benchmarks"] == second["benchmarks"]


def test_another_threshold_changes_dice_alone(evaluated: Path, tmp_path: Path) -> None:
    done = _run("--scores-from", evaluated, "-o", tmp_path / "again", "-q", "--threshold", 0.01)
    assert done.exit_code == 0, done.output
    first, second = (_results(out)["benchmarks"][0]["mean"] for out in (evaluated, tmp_path / "again"))
    assert first["dice"] != second["dice"]
    assert {k: v for k, v in first.items() if k != "dice"} == {k: v for k, v in second.items() if k != "dice"}


def test_a_protocol_that_resizes_otherwise_needs_the_model(evaluated: Path, tmp_path: Path) -> None:
    done = _run("--scores-from", evaluated, "-o", tmp_path / "again", "--protocol", "bayes-pfl")
    assert done.exit_code == 2
    assert "made with resize fit" in done.output


def test_an_evaluation_goes_on_where_it_was(brains: Path, evaluated: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("--benchmark", "colondb", "--data", brains, "-o", out, "--class-name", "brain", "-q")
    assert _run(*words).exit_code == 0
    table = out / "colondb" / "scores.csv"
    lines = table.read_text(encoding="utf-8").splitlines(keepends=True)
    table.write_text("".join(lines[:3]), encoding="utf-8")
    (out / "results.json").unlink()
    assert _run(*words).exit_code == 0
    assert _results(out)["benchmarks"] == _results(evaluated)["benchmarks"]
    assert table.read_text(encoding="utf-8").splitlines(keepends=True)[:3] == lines[:3]


def test_damaged_data_end_with_a_list_and_no_metric(brains: Path, tmp_path: Path) -> None:
    root = tmp_path / "set"
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
        for path in (brains / kind).iterdir():
            (root / kind / path.name).write_bytes(path.read_bytes())
    damaged = root / "images" / "head 1.JPG"
    damaged.write_bytes(damaged.read_bytes()[:300])
    Image.new("L", (7, 7), 255).save(root / "masks" / "head 2.png")
    words = ("--benchmark", "colondb", "--data", root, "-o", tmp_path / "out", "-q")
    done = _run(*words)
    assert done.exit_code == 2
    assert "head 1.JPG" in done.output
    assert "head 2" in done.output
    assert "--skip-bad" in done.output
    assert not (tmp_path / "out" / "results.json").exists()
    assert _run(*words, "--skip-bad").exit_code == 0
    (benchmark,) = _results(tmp_path / "out")["benchmarks"]
    assert benchmark["left_out"] == 2
    assert benchmark["classes"][0]["images"] == 2


def test_the_papers_protocol_is_named_in_every_output(brains: Path, tmp_path: Path) -> None:
    words = ("--benchmark", "colondb", "--data", brains, "-o", tmp_path / "out", "--protocol", "bayes-pfl")
    done = _run(*words)
    assert done.exit_code == 0, done.output
    for text in (done.output, (tmp_path / "out" / "report.html").read_text(encoding="utf-8")):
        assert "transductive" in text
    assert _results(tmp_path / "out")["protocol"] == "bayes-pfl"


def test_a_tolerance_without_anything_to_compare_is_an_error(evaluated: Path, tmp_path: Path) -> None:
    done = _run("--scores-from", evaluated, "-o", tmp_path / "out", "-q", "--tolerance", 100)
    assert done.exit_code == 1
    assert "--tolerance had nothing to compare" in done.output
    assert "measured on the tower ViT-L-14-336" in done.output
    assert "Outside" not in done.output
    assert (tmp_path / "out" / "results.json").is_file()


def _as_published(evaluated: Path, folder: Path, resize: str) -> Path:
    """A copy of an evaluation whose model says that it is the published one."""
    shutil.copytree(evaluated, folder)
    path = folder / "colondb" / "scores.json"
    key = json.loads(path.read_text(encoding="utf-8"))
    key["model"] |= {"clip_name": "ViT-L-14-336", "trained_on": "VisA"}
    path.write_text(json.dumps({**key, "resize": resize}), encoding="utf-8")
    return folder


def test_the_published_model_that_misses_its_values_ends_with_1(evaluated: Path, tmp_path: Path) -> None:
    source = _as_published(evaluated, tmp_path / "published", "stretch")
    words = ("--scores-from", source, "--protocol", "bayes-pfl", "-q", "--tolerance")
    missed = _run(*words, 0.0, "-o", tmp_path / "a")
    assert missed.exit_code == 1
    assert "Outside the tolerance of 0 points: colondb pixel_auroc" in missed.output
    assert _run(*words, 100, "-o", tmp_path / "b").exit_code == 0


def test_values_of_others_are_printed_on_request_only(evaluated: Path, tmp_path: Path) -> None:
    words = ("--scores-from", evaluated, "-o", tmp_path / "out")
    plain, published = _run(*words), _run(*words, "--published")
    assert "AnomalyCLIP" not in plain.output
    assert "AnomalyCLIP" in published.output
    assert "values that others published for this set" in published.output
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Values that others published for this set" in html
    assert "None of them was measured here" in html


def test_paths_of_a_config_count_from_the_folder_given_with_data(brains: Path, tmp_path: Path) -> None:
    config = tmp_path / "configs" / "evaluate.yaml"
    config.parent.mkdir()
    config.write_text(f"benchmarks: [{{benchmark: colondb, data: {brains.name}}}]", encoding="utf-8")
    missing = _run(config, "-o", tmp_path / "out")
    assert missing.exit_code == 2
    assert str(config.parent / brains.name) in missing.output.replace("\n", "")
    done = _run(config, "-o", tmp_path / "out", "--data", brains.parent)
    assert done.exit_code == 0, done.output
    assert Path(_results(tmp_path / "out")["options"]["benchmarks"][0]["data"]) == brains


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("evaluate_*.yaml")), ids=lambda path: path.stem)
def test_configs_do_not_point_outside_of_the_repository(path: Path, tmp_path: Path) -> None:
    for one in read_evaluate_config(path, {}, tmp_path).benchmarks:
        assert one.data is None or (tmp_path in one.data.parents and ".." not in one.data.parts)


def test_a_model_differs_from_itself_by_nothing(evaluated: Path, tmp_path: Path) -> None:
    done = _run("--compare", evaluated, evaluated, "-o", tmp_path / "comparison")
    assert done.exit_code == 0, done.output
    rows = json.loads((tmp_path / "comparison" / "comparison.json").read_text(encoding="utf-8"))["rows"]
    for row in rows:
        if row["reason"]:
            assert row["difference"] is None
        else:
            assert (row["difference"], row["low"], row["high"]) == (0, 0, 0)
    assert "A and B agree in model, data, options and versions." in done.output


def test_a_comparison_says_in_what_the_two_differ(evaluated: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    assert _run("--scores-from", evaluated, "-o", other, "--threshold", 0.25, "-q").exit_code == 0
    done = _run("--compare", evaluated, other, "-o", tmp_path / "comparison")
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "comparison" / "comparison.json").read_text(encoding="utf-8"))
    (row,) = found["differing"]
    assert (row["benchmark"], row["setting"], row["b"]) == ("", "threshold", "0.25")
    (line,) = [line for line in done.output.splitlines() if line.split()[:2] == ["all", "threshold"]]
    assert line.split()[-1] == "0.25"
    html = (tmp_path / "comparison" / "comparison.html").read_text(encoding="utf-8")
    assert "<td>threshold</td>" in html


def test_a_comparison_names_model_data_and_versions_that_differ(brains: Path, evaluated: Path, tmp_path: Path) -> None:
    other = _as_published(evaluated, tmp_path / "other", "fit")
    copied = tmp_path / brains.name
    shutil.copytree(brains, copied)
    with Image.open(copied / "masks" / "head 0.png") as mask:
        Image.fromarray(255 - np.asarray(mask)).save(copied / "masks" / "head 0.png")
    results = _results(other)
    results["options"]["benchmarks"][0]["data"] = str(copied)
    results["versions"]["torch"] = "0.1"
    (other / "results.json").write_text(json.dumps(results), encoding="utf-8")
    done = _run("--compare", evaluated, other, "-o", tmp_path / "comparison", "-q")
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "comparison" / "comparison.json").read_text(encoding="utf-8"))
    differing = {row["setting"]: row["b"] for row in found["differing"]}
    assert set(differing) == {"CLIP tower", "trained on", "data sha256", "torch"}
    assert (differing["CLIP tower"], differing["torch"]) == ("ViT-L-14-336", "0.1")


def test_results_of_the_first_schema_can_still_be_measured_again(evaluated: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(evaluated, old)
    options = _results(old)["options"]
    (old / "results.json").write_text(json.dumps({"schema_version": "1.0", "options": options}), encoding="utf-8")
    assert _run("--scores-from", old, "-o", tmp_path / "again", "-q").exit_code == 0
    (old / "results.json").write_text("[]", encoding="utf-8")
    refused = _run("--scores-from", old, "-o", tmp_path / "again", "-q")
    assert refused.exit_code == 2
    assert "holds no results of an evaluation" in refused.output


def test_a_set_without_data_is_refused_before_a_model_is_loaded(tmp_path: Path) -> None:
    done = _run("--benchmark", "isic", "-o", tmp_path / "out")
    assert done.exit_code == 2
    assert "--data" in done.output


def test_the_list_explains_every_benchmark() -> None:
    done = _run("--benchmark", "list")
    assert done.exit_code == 0
    for word in ("bmad_liver", "license", "layout", "synthetic"):
        assert word in done.output


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two generated heads with lesions and a healthy one, cut to a few slices."""
    root = tmp_path_factory.mktemp("volumes")
    for number in (0, 1, 2):
        gray, lesions = make_head(number)
        for kind, voxels in (("images", np.rint(gray * 1000).astype(np.int16)), ("labels", lesions.astype(np.uint8))):
            (root / kind).mkdir(exist_ok=True)
            affine = np.diag([2.0, 1.8, 7.0, 1.0])
            nib.save(nib.Nifti1Image(voxels[:, :, 4:9], affine), root / kind / f"head {number}.nii.gz")
    return root


def test_volumes_get_voxel_lesion_and_volume_metrics(volumes: Path, tmp_path: Path) -> None:
    done = _run("--benchmark", "pairs", "--data", volumes, "-o", tmp_path / "out", "--class-name", "brain")
    assert done.exit_code == 0, done.output
    (benchmark,) = _results(tmp_path / "out")["benchmarks"]
    assert benchmark["kind"] == "volumes"
    assert benchmark["classes"][0]["images"] == 3
    for name in ("pixel_auroc", "image_auroc", "aupro", "dice", "lesion_recall", "false_positives_per_scan"):
        assert benchmark["mean"][name]["value"] is not None, name


def test_a_volume_that_cannot_be_scored_is_named_and_the_others_are_kept(volumes: Path, tmp_path: Path) -> None:
    root = tmp_path / "set"
    for kind in ("images", "labels"):
        (root / kind).mkdir(parents=True)
        for path in (volumes / kind).iterdir():
            (root / kind / path.name).write_bytes(path.read_bytes())
    image = nib.load(root / "images" / "head 1.nii.gz")
    nib.save(nib.Nifti1Image(np.full(image.shape, np.nan, np.float32), image.affine), root / "images" / "head 1.nii.gz")
    words = ("--benchmark", "pairs", "--data", root, "-o", tmp_path / "out", "--class-name", "brain", "-q")
    done = _run(*words)
    assert done.exit_code == 2
    assert "head 1" in done.output
    assert "VALUES_NOT_FINITE" in done.output
    assert _run(*words, "--skip-bad").exit_code == 0
    (benchmark,) = _results(tmp_path / "out")["benchmarks"]
    assert (benchmark["left_out"], benchmark["classes"][0]["images"]) == (1, 2)


def test_the_synthetic_set_is_the_same_everywhere(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_synthetic(tmp_path / folder)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.gz"))
    assert len(files) == 2 * HEADS
    for path in files:
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes()


def test_labels_and_images_of_a_single_slice_in_two_axes_are_evaluated(volumes: Path, tmp_path: Path) -> None:
    for kind in ("images", "labels"):
        (tmp_path / "set" / kind).mkdir(parents=True)
        for path in (volumes / kind).iterdir():
            volume = nib.load(path)
            lesions = np.asarray(nib.load(volumes / "labels" / path.name).dataobj)
            plane = np.asarray(volume.dataobj)[:, :, int(lesions.sum(axis=(0, 1)).argmax())]
            nib.save(nib.Nifti1Image(plane, volume.affine), tmp_path / "set" / kind / path.name)
    words = ("--benchmark", "pairs", "--data", tmp_path / "set", "-o", tmp_path / "out", "--class-name", "brain")
    done = _run(*words, "--threshold", 0)
    assert done.exit_code == 0, done.output
    (benchmark,) = _results(tmp_path / "out")["benchmarks"]
    assert benchmark["problems"] == []
    assert benchmark["mean"]["pixel_ap"]["value"] is not None
    (part,) = benchmark["classes"]
    assert (part["flagged_normal"], part["flagged_abnormal"]) == (part["images"] - part["abnormal"], part["abnormal"])


def test_what_changes_the_figures_of_a_whole_set_is_said_on_the_terminal(brains: Path, tmp_path: Path) -> None:
    root = tmp_path / "set"
    for number in range(4):
        for kind, ending, name in (
            ("images", "JPG", f"patient{number // 2}_slice0{number}"),
            ("masks", "png", f"m{number}"),
        ):
            (root / kind).mkdir(parents=True, exist_ok=True)
            with Image.open(brains / kind / f"head {number}.{ending}") as picture:
                picture.save(root / kind / f"{name}.jpg", quality=80)
    (root / "more").mkdir()
    shutil.copy(root / "images" / "patient0_slice00.jpg", root / "more")
    done = _run("--benchmark", "own", "--data", root, "-o", tmp_path / "out", "--class-name", "brain")
    assert done.exit_code == 0, done.output
    words = " ".join(done.output.split())
    assert "No mask of set/images is named like its image; they were paired in sorted order." in words
    assert "3 masks with many shades" in words, "one of the four heads is healthy, and black is black in JPEG too"
    assert "Folders not understood, with the number of pictures in them that were left out: more (1)." in words
    assert "tell 2 patients of 4 images" in words
    assert _results(tmp_path / "out")["benchmarks"][0]["classes"][0]["subjects"] == 2


def test_images_are_flagged_by_their_highest_pixel_on_their_own_grid(evaluated: Path, tmp_path: Path) -> None:
    kept = KeptScores(evaluated / "colondb", None)
    highest = sorted(float(kept.read_map(f"images/head {number}.JPG").max()) for number in range(4))
    for limit, flagged in ((0.0, 4), (min(highest[-1] * 1.01, 1.0), 0)):
        out = tmp_path / str(flagged)
        done = _run("--scores-from", evaluated, "-o", out, "--threshold", limit)
        assert done.exit_code == 0, done.output
        assert f"flagged at the threshold: {flagged} of 4 abnormal" in done.output
        assert _results(out)["benchmarks"][0]["classes"][0]["flagged_abnormal"] == flagged
