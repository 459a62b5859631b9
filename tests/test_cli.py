"""The command line: exit codes, messages, and what is printed where."""

import json
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from medzsad.cli import main
from medzsad.methods.registry import METHODS
from medzsad.weights.store import save_weights
from tests import tiny
from tests.detectors import BrightnessDetector
from tests.phantoms import phantom_scan, write_dicom_series, write_nifti


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setattr("medzsad.run.pipeline.load_detector", lambda *_, **__: BrightnessDetector(size=48))
    return CliRunner()


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    write_nifti(folder / "one.nii.gz", phantom_scan(name="one"))
    return folder


HEAVY = {"torch", "torchvision", "open_clip", "monai", "matplotlib"}


def _imported_by(*arguments: str) -> set[str]:
    """The packages that a command imports."""
    code = (
        "import sys; from medzsad.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print('\\n' + ' '.join(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_help_answers_without_numpy_and_pydantic() -> None:
    assert not (HEAVY | {"numpy", "pydantic", "rich"}) & _imported_by("--help")


@pytest.mark.parametrize("command", ["run", "report", "inspect", "evaluate", "train", "weights list", "info"])
def test_the_help_of_every_command_answers_without_torch(command: str) -> None:
    assert not HEAVY & _imported_by(*command.split(), "--help")


@pytest.mark.parametrize("command", [["weights", "list"], ["weights", "path", "medzsad-mini"], ["info"]])
def test_weights_and_environment_are_listed_without_torch(command: list[str]) -> None:
    assert not HEAVY & _imported_by(*command)


def test_imported_weights_are_listed_without_torch_and_damaged_ones_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDZSAD_WEIGHTS", str(tmp_path))
    save_weights(tmp_path / "mine.safetensors", tiny.prompts(), tiny.card(name="mine", license="MIT"))
    (tmp_path / "broken.safetensors").write_bytes(b"junk")
    assert not HEAVY & _imported_by("weights", "list")
    records = json.loads(CliRunner().invoke(main, ["weights", "list", "--json"]).output)
    found = {record["name"]: (record["status"], record["license"]) for record in records}
    assert (found["mine"], found["broken"]) == (("imported", "MIT"), ("damaged", "unknown"))
    assert found["medzsad-mini"][0] == "embedded"
    assert "mine  [imported]" in CliRunner().invoke(main, ["weights", "list"]).output


def test_reports_are_rebuilt_without_torch(runner: CliRunner, scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert runner.invoke(main, ["run", str(scans), "-o", str(out), "-q"]).exit_code == 0
    assert not HEAVY & _imported_by("report", str(out))


def test_inspect_lists_all_formats_without_torch(tmp_path: Path) -> None:
    phantom = phantom_scan()
    write_nifti(tmp_path / "volume.nii.gz", phantom)
    write_dicom_series(tmp_path / "series", phantom)
    Image.new("L", (20, 20)).save(tmp_path / "picture.png")
    assert not HEAVY & _imported_by("inspect", str(tmp_path))


def test_run_ends_with_0_and_names_the_report(runner: CliRunner, scans: Path, tmp_path: Path) -> None:
    done = runner.invoke(main, ["run", str(scans), "-o", str(tmp_path / "out"), "--threshold", "0.8"])
    assert done.exit_code == 0, done.output
    assert "1 lesion" in done.output
    assert str(tmp_path / "out" / "report.html") in done.output


def test_run_ends_with_3_if_a_case_was_refused(runner: CliRunner, scans: Path, tmp_path: Path) -> None:
    (scans / "empty.nii").touch()
    done = runner.invoke(main, ["run", str(scans), "-o", str(tmp_path / "out")])
    assert done.exit_code == 3
    assert "empty: refused" in done.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "nowhere", "-o", "OUT"], "nowhere"),
        (["run", "SCANS", "-o", "OUT", "--window", "lungs"], "Unknown window 'lungs'"),
        (["run", "SCANS", "-o", "OUT", "--threshold", "2"], "threshold"),
        (["run", "SCANS", "-o", "OUT", "--device", "toaster"], None),
        (["run", "SCANS", "-o", "OUT", "--config", "absent.yaml"], "absent.yaml"),
        (["run", "SCANS"], "--out"),
        (["run", "SCANS", "-o", "OUT", "--frame", "1", "--all-frames"], "exclude each other"),
        (["run", "SCANS", "-o", "OUT", "--series", "999"], "999"),
    ],
)
def test_wrong_usage_ends_with_2_and_a_sentence(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str | None
) -> None:
    if words is not None:
        monkeypatch.setattr("medzsad.run.pipeline.load_detector", lambda *_, **__: BrightnessDetector(size=48))
    places = {"SCANS": str(scans), "OUT": str(tmp_path / "out")}
    done = CliRunner().invoke(main, [places.get(a, a) for a in arguments])
    assert done.exit_code == 2, done.output
    assert (words or "toaster") in done.output
    assert "Traceback" not in done.output


def test_flags_override_the_configuration_file(runner: CliRunner, scans: Path, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("threshold: 0.8\nseed: 3\n", encoding="utf-8")
    arguments = ["run", str(scans), "-o", str(tmp_path / "out"), "--config", str(tmp_path / "run.yaml"), "--seed", "4"]
    assert runner.invoke(main, arguments).exit_code == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert (report["manifest"]["config"]["threshold"], report["manifest"]["config"]["seed"]) == (0.8, 4)


def test_quiet_prints_nothing(runner: CliRunner, scans: Path, tmp_path: Path) -> None:
    done = runner.invoke(main, ["run", str(scans), "-o", str(tmp_path / "out"), "-q"])
    assert (done.exit_code, done.output) == (0, "")


def test_a_dry_run_says_what_it_would_do(runner: CliRunner, scans: Path, tmp_path: Path) -> None:
    done = runner.invoke(main, ["run", str(scans), "-o", str(tmp_path / "out"), "--dry-run"])
    assert done.output.split() == ["score", "one", "one.nii.gz"]
    assert not (tmp_path / "out").exists()


def test_inspect_lists_every_series_with_its_verdict(scans: Path) -> None:
    write_dicom_series(scans / "regular", phantom_scan())
    write_dicom_series(scans / "gapped", phantom_scan(seed=2), drop_slice=5, uid_seed="gapped")
    done = CliRunner().invoke(main, ["inspect", str(scans), "--json"])
    assert done.exit_code == 0
    found = json.loads(done.output)
    assert len(found) == 3
    assert [entry["code"] for entry in found].count("GEOMETRY_GAP") == 1
    assert "Secret" not in done.output
    table = CliRunner().invoke(main, ["inspect", str(scans)]).output
    assert "3 found, 2 eligible." in table
    assert "GEOMETRY_GAP" in table


def test_info_names_versions_decoders_and_weights() -> None:
    done = CliRunner().invoke(main, ["info"])
    assert done.exit_code == 0
    for word in ("torch", "open_clip", "JPEG Extended of 12 bits", "medzsad-mini"):
        assert word in done.output


def test_info_asks_torch_for_devices_only_when_told_to() -> None:
    assert "torch_devices" not in json.loads(CliRunner().invoke(main, ["info", "--json"]).output)
    assert (
        "threads"
        in json.loads(CliRunner().invoke(main, ["info", "--devices", "--json"]).output)["torch_devices"]["cpu"]
    )


def test_a_flag_switches_off_what_the_configuration_file_switches_on(
    runner: CliRunner, scans: Path, tmp_path: Path
) -> None:
    (tmp_path / "run.yaml").write_text("allow_irregular: true\nall_frames: true\n", encoding="utf-8")
    out = tmp_path / "out"
    arguments = ["run", str(scans), "-o", str(out), "--config", str(tmp_path / "run.yaml"), "--no-allow-irregular"]
    assert runner.invoke(main, arguments).exit_code == 0
    config = json.loads((out / "report.json").read_text(encoding="utf-8"))["manifest"]["config"]
    assert (config["allow_irregular"], config["all_frames"]) == (False, True)


def test_files_that_were_not_understood_are_counted_and_listed_with_v(
    runner: CliRunner, scans: Path, tmp_path: Path
) -> None:
    for name in ("a.mif", "b+orig.HEAD"):
        (scans / name).write_bytes(b"something else")
    said = "2 files were not understood; -v lists them."
    run = ["run", str(scans), "-o", str(tmp_path / "out"), "--threshold", "0.8"]
    for arguments in (run, ["inspect", str(scans)]):
        done = runner.invoke(main, arguments)
        assert done.exit_code == 0
        assert said in done.output
        assert "a.mif" not in done.output
    listed = runner.invoke(main, ["inspect", str(scans), "-v"]).output
    assert "Not understood: a.mif" in listed
    assert "Not understood: b+orig.HEAD" in listed


def test_a_mask_is_refused_unless_labels_are_allowed(runner: CliRunner, tmp_path: Path) -> None:
    phantom = phantom_scan()
    mask = replace(phantom, scan=replace(phantom.scan, voxels=phantom.lesion_mask.astype(np.float32)))
    write_nifti(tmp_path / "mask.nii", mask)
    run = ["run", str(tmp_path / "mask.nii"), "-o", str(tmp_path / "out"), "--threshold", "0.8"]
    refused = runner.invoke(main, run)
    assert refused.exit_code == 3
    assert "looks like a mask or label map" in refused.output.replace("\n", " ")
    assert runner.invoke(main, [*run, "--allow-labels"]).exit_code == 0


def test_inspect_tells_of_copies_and_names_no_format_that_it_does_not_know(tmp_path: Path) -> None:
    write_dicom_series(tmp_path / "in" / "one", phantom_scan((20, 24, 6)))
    shutil.copytree(tmp_path / "in" / "one", tmp_path / "in" / "two")
    zipfile.ZipFile(tmp_path / "in" / "empty.zip", "w").close()
    listed = CliRunner().invoke(main, ["inspect", str(tmp_path / "in")]).output.splitlines()
    (archive,) = [line for line in listed if line.startswith("empty")]
    assert archive.split()[1] == "-"
    assert "6 files that are byte-for-byte copies of others were left out." in " ".join(" ".join(listed).split())
    found = json.loads(CliRunner().invoke(main, ["inspect", str(tmp_path / "in"), "--json"]).output)
    assert {one["kind"]: len(one["notes"]) for one in found} == {"dicom": 1, "unknown": 0}


@pytest.mark.parametrize("group", [[], ["weights"]], ids=["medzsad", "medzsad weights"])
def test_the_list_of_commands_cuts_no_sentence(group: list[str]) -> None:
    listed = CliRunner().invoke(main, [*group, "--help"], terminal_width=80).output.split("Commands:")[1].strip()
    assert all(line.strip().endswith(".") for line in listed.splitlines())
    assert "..." not in listed


def test_methods_lists_every_method_with_its_facts_and_known_weights(runner: CliRunner) -> None:
    done = runner.invoke(main, ["methods", "--json"])
    assert done.exit_code == 0, done.output
    records = {one["name"]: one for one in json.loads(done.stdout)}
    assert list(records)[:6] == ["bayes_pfl", "cops", "anomalyclip", "crane", "faprompt", "mrad"]
    rebuilt = [name for name in METHODS if records[name]["fidelity"] != "exact"]
    assert rebuilt == ["mrad", "pilot-style", "human-free-style"]
    assert [name for name in METHODS if not records[name]["code_license"]] == rebuilt[1:]
    assert all(records[name]["trainable"] for name in METHODS)
    assert [one["name"] for one in records["crane"]["weights"]][:2] == ["crane-mvtec", "crane-visa"]
    text = runner.invoke(main, ["methods"]).stdout
    assert "medzsad-mini (embedded; trained on generated images and pictures of industrial parts)" in text
    assert "arXiv 2410.10289" in text
