"""Training data is read in every layout."""

from pathlib import Path

import pytest

from medzsad.datasets.layouts import read_data
from medzsad.datasets.records import hold_out
from medzsad.errors import ConfigError
from tests.datasets.folders import entry, write_image, write_mask, write_meta

AUXILIARY = Path(__file__).resolve().parents[3] / "shared" / "data" / "auxiliary"


def test_bayes_pfl_files_are_read_together_and_placeholders_skipped(tmp_path: Path) -> None:
    write_image(tmp_path / "VisA set/metal nut/0 a.JPG")
    write_image(tmp_path / "VisA set/metal nut/1.png")
    write_mask(tmp_path / "VisA set/masks/1.png")
    entries = [
        entry("VisA set/metal nut/0 a.JPG", dataset_name="VisA"),
        entry("VisA set/metal nut/1.png", "VisA set/masks/1.png", 1, "bent", dataset_name="VisA"),
        entry(""),
    ]
    write_meta(tmp_path / "meta_visa.json", entries)
    write_meta(tmp_path / "meta_other.json", [entry("VisA set/metal nut/0 a.JPG")], "cable")
    data = read_data(tmp_path)
    assert data.layout == "bayes_pfl"
    assert [(r.class_name, r.label, r.mask is not None) for r in data.records] == [
        ("cable", 0, False),
        ("metal nut", 0, False),
        ("metal nut", 1, True),
    ]
    assert not data.problems
    assert len(read_data(tmp_path / "meta_visa.json").records) == 2


def test_absolute_paths_are_taken_and_a_folder_as_mask_is_no_pixel_label(tmp_path: Path) -> None:
    far = write_image(tmp_path / "far away/x.png")
    mask = write_mask(tmp_path / "far away/m.png")
    (tmp_path / "set/masks").mkdir(parents=True)
    entries = [
        entry(str(far), str(mask), 1),
        entry(str(far), "masks", 1),
        entry(str(far), "", 1),
        entry(str(far), "no.png", 1),
    ]
    write_meta(tmp_path / "set/meta.json", entries)
    data = read_data(tmp_path / "set")
    assert data.layout == "anomalyclip"
    assert [r.mask for r in data.records] == [mask, None, None, None]
    (problem,) = data.problems
    assert (problem.kind, problem.severity, problem.subject) == ("missing_mask", "warning", "metal nut")
    assert "3 defects" in problem.message


def test_relative_paths_out_of_the_folder_and_broken_records_are_listed(tmp_path: Path) -> None:
    write_meta(tmp_path / "meta.json", [entry("a/../../x.png"), entry("x.png", anomaly=3), {"img_path": 5}])
    kinds = [problem.kind for problem in read_data(tmp_path).problems]
    assert kinds == ["path_escapes", "bad_record", "bad_record", "empty_class"]


def test_mvtec_folders_are_read_by_split(tmp_path: Path) -> None:
    for name in ("train/good/000.png", "test/good/000.png", "test/big hole/000.PNG", "test/big hole/001.PNG"):
        write_image(tmp_path / "my leather" / name)
    write_mask(tmp_path / "my leather/ground_truth/big hole/000_mask.PNG")
    assert [(r.label, r.mask is not None) for r in read_data(tmp_path).records] == [(1, True), (1, False), (0, False)]
    assert [r.label for r in read_data(tmp_path, "mvtec", split="train").records] == [0]
    assert len(read_data(tmp_path / "my leather", split="all").records) == 4


def test_visa_is_read_from_its_csv(tmp_path: Path) -> None:
    write_image(tmp_path / "candle/Data/Images/Normal/0.JPG")
    write_image(tmp_path / "candle/Data/Images/Anomaly/0.JPG")
    write_mask(tmp_path / "candle/Data/Masks/Anomaly/0.png")
    (tmp_path / "split_csv").mkdir()
    (tmp_path / "split_csv/1cls.csv").write_text(
        "object,split,label,image,mask\n"
        "candle,train,normal,candle/Data/Images/Normal/0.JPG,\n"
        "candle,test,anomaly,candle/Data/Images/Anomaly/0.JPG,candle/Data/Masks/Anomaly/0.png\n"
        "candle,test,odd,candle/Data/Images/Anomaly/0.JPG,\n",
        encoding="utf-8",
    )
    for root in (tmp_path, tmp_path / "split_csv/1cls.csv"):
        data = read_data(root, split="all")
        assert (data.layout, data.root) == ("visa", tmp_path)
        assert [(r.label, r.split, r.mask is not None) for r in data.records] == [
            (0, "train", False),
            (1, "test", True),
        ]
        assert [p.kind for p in data.problems] == ["bad_record"]


def test_masks_are_paired_by_stem_before_order(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        write_image(tmp_path / "weld seam/images" / f"{name}.JPG")
    write_mask(tmp_path / "weld seam/masks/c_gt.png")
    write_mask(tmp_path / "weld seam/masks/a.png")
    data = read_data(tmp_path)
    assert [(r.image.stem, r.mask and r.mask.stem) for r in data.records] == [("a", "a"), ("b", None), ("c", "c_gt")]
    assert [r.class_name for r in read_data(tmp_path / "weld seam").records] == ["weld seam"] * 3


@pytest.mark.parametrize(("masks", "paired"), [(2, True), (3, False)])
def test_order_pairs_only_equal_counts_and_warns(tmp_path: Path, masks: int, paired: bool) -> None:
    for number in range(2):
        write_image(tmp_path / f"Images/p{number}.png")
    for number in range(masks):
        write_mask(tmp_path / f"Masks/q{number}.png")
    data = read_data(tmp_path)
    assert [r.mask and r.mask.name for r in data.records] == (["q0.png", "q1.png"] if paired else [None, None])
    assert [p.kind for p in data.problems] == ["paired_by_order" if paired else "missing_mask"]


def test_good_and_bad_folders_need_no_masks(tmp_path: Path) -> None:
    write_image(tmp_path / "nut/good/0.png")
    write_image(tmp_path / "nut/bad/0.png")
    write_image(tmp_path / "nut/bad/1.png")
    write_mask(tmp_path / "nut/bad/1_mask.png")
    write_mask(tmp_path / "nut/masks/0.png")
    found = [(r.label, r.image.name, r.mask is not None) for r in read_data(tmp_path).records]
    assert sorted(found) == [(0, "0.png", False), (1, "0.png", True), (1, "1.png", True)]


def test_nothing_found_says_what_was_looked_for_and_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"bayes_pfl .*anomalyclip .*visa .*mvtec .*pairs .*Found there: notes.txt"):
        read_data(tmp_path)
    with pytest.raises(ConfigError, match=r"not of layout visa"):
        read_data(tmp_path, "visa")
    with pytest.raises(ConfigError, match="no training data"):
        read_data(tmp_path / "away")
    (tmp_path / "meta.json").write_text("[1", encoding="utf-8")
    with pytest.raises(ConfigError, match="as JSON"):
        read_data(tmp_path)


def test_unknown_classes_are_refused_with_those_there_are(tmp_path: Path) -> None:
    write_meta(tmp_path / "meta.json", [entry("a.png")])
    with pytest.raises(ConfigError, match=r"no class cable\. It has: metal nut"):
        read_data(tmp_path, classes=["cable"])


@pytest.mark.skipif(not AUXILIARY.is_dir(), reason="../shared/data/auxiliary is not here")
def test_the_auxiliary_data_are_read_whole_and_augmented_copies_grouped() -> None:
    data = read_data(AUXILIARY)
    assert (data.layout, len(data.records), len({r.class_name for r in data.records})) == ("bayes_pfl", 1661, 15)
    assert not data.problems
    assert {r.class_name for r in data.records if r.group} == {"transistor", "zipper", "leather", "wood"}
    train, held = hold_out(data.records, 0.15)
    for name in {r.class_name for r in data.records}:
        for label in {r.label for r in data.records if r.class_name == name}:
            assert any((r.class_name, r.label) == (name, label) for r in held)
    groups = [{(r.class_name, r.group) for r in part if r.group} for part in (train, held)]
    assert not groups[0] & groups[1]
