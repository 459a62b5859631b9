"""Every problem of training data is named, all in one list."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from medzsad.datasets.check import check_data, data_json, data_text, without_bad
from medzsad.datasets.layouts import read_data
from medzsad.datasets.records import DataSet
from tests.datasets.folders import entry, write_image, write_mask, write_meta


def _good(root: Path, count: int = 7) -> list[dict[str, object]]:
    entries = []
    for i in range(count):
        write_image(root / f"good/{i}.png")
        write_image(root / f"bad/{i}.png")
        write_mask(root / f"mask/{i}.png")
        entries += [entry(f"good/{i}.png"), entry(f"bad/{i}.png", f"mask/{i}.png", 1, "cut")]
    return entries


def _checked(root: Path, entries: list[dict[str, object]]) -> DataSet:
    write_meta(root / "meta.json", entries)
    return check_data(read_data(root))


def _found(data: DataSet) -> set[tuple[str, str, str]]:
    return {(p.kind, p.severity, p.subject) for p in data.problems}


def test_sound_data_have_no_problems(tmp_path: Path) -> None:
    data = _checked(tmp_path, _good(tmp_path))
    assert data.problems == ()
    assert "No problems found." in data_text(data)


def test_every_bad_file_is_named_in_one_list_and_can_be_left_out(tmp_path: Path) -> None:
    entries = _good(tmp_path)
    cut = write_image(tmp_path / "cut.png", size=(90, 70))
    cut.write_bytes(cut.read_bytes()[:3000])
    (tmp_path / "text.JPG").write_text("no image", encoding="utf-8")
    (tmp_path / "broken mask.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    write_mask(tmp_path / "large.png", size=(13, 8))
    write_mask(tmp_path / "empty.png", empty=True)
    shutil.copy(tmp_path / "good/0.png", tmp_path / "copy.png")
    for name in ("p", "q", "r", "s"):
        write_image(tmp_path / f"{name}.png")
    entries += [
        entry("gone.png"),
        entry("cut.png"),
        entry("text.JPG"),
        entry("p.png", "broken mask.png", 1),
        entry("q.png", "large.png", 1),
        entry("r.png", "empty.png", 1),
        entry("s.png", "mask/0.png"),
        entry("copy.png", "mask/0.png", 1),
        entry("good/1.png"),
    ]
    data = _checked(tmp_path, entries)
    assert _found(data) == {
        ("missing_image", "error", "gone.png"),
        ("unreadable_image", "error", "cut.png"),
        ("unreadable_image", "error", "text.JPG"),
        ("unreadable_mask", "error", "p.png"),
        ("mask_size", "error", "q.png"),
        ("empty_mask", "error", "r.png"),
        ("mask_on_sound", "error", "s.png"),
        ("duplicate_images", "error", "copy.png"),
        ("duplicate_images", "error", "good/0.png"),
        ("listed_twice", "warning", "good/1.png"),
    }
    left = without_bad(data)
    assert not any(p.severity == "error" for p in left.problems)
    assert len(left.records) == len(data.records) - 9
    assert set(left.records) <= set(data.records)


def test_one_sided_and_small_classes_are_warned_of(tmp_path: Path) -> None:
    entries = _good(tmp_path)
    content = {"test": {"nut": entries, "only good": entries[::2], "only bad": entries[1:4:2], "void": []}}
    (tmp_path / "meta.json").write_text(json.dumps(content), encoding="utf-8")
    found = _found(check_data(read_data(tmp_path)))
    assert {f for f in found if f[0] != "listed_twice"} == {
        ("no_defects", "warning", "only good"),
        ("no_sound", "warning", "only bad"),
        ("too_few", "warning", "only bad"),
        ("empty_class", "error", "void"),
    }


def test_data_without_any_defect_or_pixel_label_are_an_error(tmp_path: Path) -> None:
    entries = _good(tmp_path)
    assert ("no_defects_at_all", "error", ".") in _found(_checked(tmp_path, entries[::2]))
    for listed in entries:
        listed["mask_path"] = ""
    found = _found(_checked(tmp_path, entries))
    assert found == {("no_pixel_labels", "error", "."), ("missing_mask", "warning", "metal nut")}


def test_leaving_out_the_last_defects_is_still_an_error(tmp_path: Path) -> None:
    entries = _good(tmp_path)
    for number in range(7):
        write_mask(tmp_path / f"mask/{number}.png", empty=True)
    left = without_bad(_checked(tmp_path, entries))
    assert ("no_defects_at_all", "error", ".") in _found(left)
    assert {r.label for r in left.records} == {0}


def test_names_the_file_system_refuses_are_listed_not_raised(tmp_path: Path) -> None:
    long = "x" * 300 + ".png"
    data = _checked(tmp_path, [*_good(tmp_path), entry(long), entry("nul\0.png"), entry("bad/0.png", long, 1)])
    assert {f for f in _found(data) if f[0] != "listed_twice"} == {
        ("missing_image", "error", long),
        ("missing_image", "error", "nul\0.png"),
        ("missing_mask", "warning", "metal nut"),
    }


def test_images_of_suspicious_size_are_named_not_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = _good(tmp_path)
    write_image(tmp_path / "huge.png", size=(30, 20))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
    data = _checked(tmp_path, [*entries, entry("huge.png")])
    assert _found(data) == {("unreadable_image", "error", "huge.png")}
    assert "DecompressionBomb" in data.problems[0].message


def test_text_counts_and_shows_ten_while_json_is_complete(tmp_path: Path) -> None:
    data = _checked(tmp_path, [*_good(tmp_path), *(entry(f"gone {i}.png") for i in range(12))])
    text = data_text(data)
    assert "error missing_image: 12" in text
    assert "and 2 more" in text
    row = next(line for line in text.splitlines() if line.startswith("metal nut"))
    assert row.split()[-4:] == ["26", "19", "7", "7"]
    content = json.loads(data_json(data))
    assert Counter(p["kind"] for p in content["problems"]) == {"missing_image": 12}
    assert content["classes"]["metal nut"] == {"images": 26, "sound": 19, "defects": 7, "masks": 7}


def test_an_evaluation_takes_few_one_sided_and_unmarked_images(tmp_path: Path) -> None:
    write_image(tmp_path / "bad/0.png")
    write_image(tmp_path / "bad/1.png")
    write_meta(tmp_path / "meta.json", [entry("bad/0.png", "", 1), entry("bad/1.png", "", 1)])
    data = check_data(read_data(tmp_path), "evaluation")
    assert _found(data) == {("missing_mask", "warning", "metal nut"), ("no_sound", "warning", "metal nut")}
    assert without_bad(data, "evaluation").records == data.records


def test_an_evaluation_keeps_images_with_empty_masks_and_twofold_labels_and_warns(tmp_path: Path) -> None:
    write_mask(tmp_path / "empty.png", empty=True)
    write_image(tmp_path / "a.png")
    shutil.copy(tmp_path / "a.png", tmp_path / "b.png")
    write_meta(tmp_path / "meta.json", [entry("a.png", "empty.png", 1), entry("b.png")])
    data = check_data(read_data(tmp_path), "evaluation")
    assert _found(data) == {
        ("empty_mask", "warning", "a.png"),
        ("duplicate_images", "warning", "a.png"),
        ("duplicate_images", "warning", "b.png"),
    }
    assert len(without_bad(data, "evaluation").records) == 2


def test_an_evaluation_stops_at_damaged_files_and_can_leave_them_out(tmp_path: Path) -> None:
    entries = _good(tmp_path, 3)
    (tmp_path / "bad/0.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    write_mask(tmp_path / "mask/1.png", size=(13, 8))
    write_meta(tmp_path / "meta.json", entries)
    data = check_data(read_data(tmp_path), "evaluation")
    assert _found(data) == {("unreadable_image", "error", "bad/0.png"), ("mask_size", "error", "bad/1.png")}
    left = without_bad(data, "evaluation")
    assert len(left.records) == 4
    assert {p.severity for p in left.problems} == {"warning"}


def test_an_evaluation_needs_an_abnormal_image(tmp_path: Path) -> None:
    write_meta(tmp_path / "meta.json", _good(tmp_path, 3)[::2])
    data = check_data(read_data(tmp_path), "evaluation")
    assert _found(data) == {("no_defects_at_all", "error", ".")}


def test_the_text_for_an_evaluation_does_not_speak_of_training(tmp_path: Path) -> None:
    entries = [*_good(tmp_path, 2), entry("gone.png")]
    write_meta(tmp_path / "meta.json", entries)
    text = data_text(check_data(read_data(tmp_path), "evaluation"), "evaluation")
    assert text.startswith("Evaluation data:")
    assert "train" not in text.lower().replace(str(tmp_path).lower(), "")
    assert "abnormal" in text.splitlines()[2]


def test_gray_masks_are_counted_in_one_warning_of_the_set(tmp_path: Path) -> None:
    entries = _good(tmp_path)
    for i in range(2):
        mask = write_mask(tmp_path / f"mask/{i}.png", size=(48, 40))
        write_image(tmp_path / f"bad/{i}.png", size=(48, 40))
        with Image.open(mask) as sharp:
            sharp.save(tmp_path / f"mask/{i}.jpg", quality=50)
        entries[2 * i + 1] = entry(f"bad/{i}.png", f"mask/{i}.jpg", 1, "cut")
    data = _checked(tmp_path, entries)
    (problem,) = data.problems
    assert (problem.kind, problem.severity, problem.subject) == ("gray_masks", "warning", ".")
    assert problem.message.startswith("2 masks with many shades")
    assert "half of the maximum" in problem.message


def test_every_one_of_several_masks_is_checked_and_named(tmp_path: Path) -> None:
    for name in ("normal/n.png", "benign/b.png"):
        write_image(tmp_path / name)
    write_mask(tmp_path / "benign/b_mask.png")
    write_mask(tmp_path / "benign/b_mask_1.png", size=(13, 8))
    (problem,) = (p for p in check_data(read_data(tmp_path), "evaluation").problems if p.severity == "error")
    assert (problem.kind, problem.subject) == ("mask_size", "benign/b.png")
    assert "benign/b_mask_1.png" in problem.message
