"""Picture benchmarks are read in every layout they go around in."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from medzsad.datasets.check import check_data
from medzsad.datasets.read_benchmark import read_benchmark
from medzsad.datasets.records import DataSet
from medzsad.errors import ConfigError
from tests.datasets.folders import entry, write_image, write_mask, write_meta


def _images(root: Path, names: Sequence[str]) -> None:
    for name in names:
        write_image(root / name)


def _masks(root: Path, names: Sequence[str]) -> None:
    for name in names:
        write_mask(root / name)


def _labels(data: DataSet) -> list[tuple[str, int]]:
    return sorted((record.image.name, record.label) for record in data.records)


def _pairs(data: DataSet) -> dict[str, str | None]:
    return {record.image.name: record.mask and record.mask.name for record in data.records}


def _kinds(data: DataSet) -> list[str]:
    return [problem.kind for problem in data.problems]


@pytest.mark.parametrize("inside", ["", "brain_tumor_dataset", "BrainMRI/brain_tumor_dataset", "unpacked here"])
@pytest.mark.parametrize(("yes", "no"), [("yes", "no"), ("Yes", "NO")])
def test_yes_and_no_folders_are_found_nested_and_in_any_case(tmp_path: Path, inside: str, yes: str, no: str) -> None:
    _images(tmp_path / inside, [f"{yes}/Y 1.JPG", f"{yes}/Y2.jpeg", f"{no}/1 no.png"])
    data = read_benchmark("brain_mri", tmp_path)
    assert _labels(data) == [("1 no.png", 0), ("Y 1.JPG", 1), ("Y2.jpeg", 1)]
    assert {(r.class_name, r.dataset, r.mask) for r in data.records} == {("brain ct", "brain_mri", None)}


def test_copies_of_the_folders_one_level_down_are_not_counted_twice(tmp_path: Path) -> None:
    for inside in ("", "brain_tumor_dataset"):
        _images(tmp_path / inside, ["yes/a.jpg", "no/b.jpg"])
    assert len(read_benchmark("brain_mri", tmp_path).records) == 2


def test_the_set_is_chosen_by_name_from_a_folder_of_many_sets(tmp_path: Path) -> None:
    _images(tmp_path, ["Br35H/yes/y0.jpg", "Br35H/no/no0.jpg", "BrainMRI/yes/Y1.jpg", "BrainMRI/no/n.jpg"])
    assert _labels(read_benchmark("br35h", tmp_path)) == [("no0.jpg", 0), ("y0.jpg", 1)]


def test_several_folders_that_fit_are_refused_by_name(tmp_path: Path) -> None:
    _images(tmp_path, ["one copy/yes/a.jpg", "other/yes/a.jpg"])
    with pytest.raises(ConfigError, match=r"could be Br35H .*: one copy, other\. Name one"):
        read_benchmark("br35h", tmp_path)


def test_the_folder_of_another_set_is_not_taken_in_its_place(tmp_path: Path) -> None:
    _images(tmp_path, ["Br35H/yes/y0.jpg", "Br35H/no/no0.jpg"])
    with pytest.raises(ConfigError, match=r"No images of BrainMRI .* Found there: Br35H"):
        read_benchmark("brain_mri", tmp_path)


def test_naming_the_folder_of_another_set_is_warned_of(tmp_path: Path) -> None:
    _images(tmp_path, ["Br35H/yes/y0.jpg", "Br35H/no/no0.jpg"])
    assert "other_dataset" in _kinds(read_benchmark("brain_mri", tmp_path / "Br35H"))


@pytest.mark.parametrize("inside", ["head_ct/head_ct", "head_ct", ""])
def test_head_ct_is_read_from_its_table(tmp_path: Path, inside: str) -> None:
    _images(tmp_path / inside, ["000.png", "001.png", "010.png", "011.png"])
    (tmp_path / "labels.csv").write_text("id, hemorrhage\n0,1\n1,0\n10, 1\n12,0\n13,maybe\n", encoding="utf-8")
    data = read_benchmark("head_ct", tmp_path)
    assert _labels(data) == [("000.png", 1), ("001.png", 0), ("010.png", 1), ("012.png", 0)]
    assert _kinds(data)[:2] == ["bad_record", "unlisted_images"]
    assert {record.class_name for record in data.records} == {"head ct"}


@pytest.mark.parametrize("good", ["good", "test/good", "brain/test/good", "HeadCT/head ct/test/good"])
def test_head_ct_is_read_from_folders(tmp_path: Path, good: str) -> None:
    _images(tmp_path / good, ["0.bmp"])
    _images((tmp_path / good).parent / "defect", ["1 a.bmp", "2.bmp"])
    _images(tmp_path / "train/good", ["9.bmp"] if good == "test/good" else [])
    assert _labels(read_benchmark("head_ct", tmp_path)) == [("0.bmp", 0), ("1 a.bmp", 1), ("2.bmp", 1)]


def test_the_authors_index_of_the_right_set_is_picked_among_several(tmp_path: Path) -> None:
    image = write_image(tmp_path / "BrainMRI/brain ct/test/anomaly/BrainMRI_defect_Y100_000000.bmp")
    listed = entry(image.relative_to(tmp_path).as_posix(), "BrainMRI/gone/x.png", 1, dataset_name="BrainMRI")
    write_meta(tmp_path / "meta_BrainMRI.json", [listed], "brain ct")
    write_meta(tmp_path / "meta_HeadCT.json", [entry("HeadCT/a.bmp"), entry("HeadCT/b.bmp")], "head ct")
    data = read_benchmark("brain_mri", tmp_path)
    assert (_labels(data), data.layout) == ([(image.name, 1)], "meta")
    assert _kinds(data) == ["unexpected_count"]


def test_lists_with_absolute_paths_are_read_from_the_set_or_its_parent(tmp_path: Path) -> None:
    image, mask = write_image(tmp_path / "elsewhere/1.tif"), write_mask(tmp_path / "elsewhere/m/1.tif")
    write_meta(tmp_path / "data/CVC-ClinicDB/meta.json", [entry(str(image), str(mask), 1)], "colon")
    for folder in ("data", "data/CVC-ClinicDB", "data/CVC-ClinicDB/meta.json"):
        (record,) = read_benchmark("clinicdb", tmp_path / folder).records
        assert (record.image, record.mask) == (image, mask)


def test_a_list_made_elsewhere_gives_way_to_the_folders_with_a_warning(tmp_path: Path) -> None:
    _images(tmp_path, ["brain_tumor_dataset/yes/a.jpg", "brain_tumor_dataset/no/b.jpg"])
    write_meta(tmp_path / "meta.json", [entry("/nowhere/brain_tumor_dataset/yes/a.jpg", "", 1)], "brain")
    data = read_benchmark("brain_mri", tmp_path)
    assert (data.layout, len(data.records)) == ("sorted", 2)
    assert _kinds(data) == ["unused_list", "unexpected_count"]


def test_no_folder_is_guessed_at_beside_those_of_other_sets(tmp_path: Path) -> None:
    for name in ("CVC-300", "CVC-ColonDB"):
        _images(tmp_path, [f"{name}/images/1.png"])
        _masks(tmp_path, [f"{name}/masks/1.png"])
    with pytest.raises(ConfigError, match=r"No images of Kvasir-SEG .* Found there: CVC-300, CVC-ColonDB"):
        read_benchmark("kvasir", tmp_path)


def test_training_records_of_a_list_are_not_evaluated(tmp_path: Path) -> None:
    content = {"train": {"skin": [entry("t.png")]}, "test": {"skin": [entry("a.png", anomaly=1)]}}
    (tmp_path / "meta.json").write_text(json.dumps(content), encoding="utf-8")
    assert _labels(read_benchmark("isic", tmp_path)) == [("a.png", 1)]


def test_jsonl_is_read_line_by_line_with_paths_from_the_folder_above(tmp_path: Path) -> None:
    _images(tmp_path, ["Liver_AD/test/Ungood/img/0_100 a.png", "Liver_AD/test/good/img/1_3.png"])
    _masks(tmp_path, ["Liver_AD/test/Ungood/label/0_100 a.png"])
    far = write_image(tmp_path / "far/x.png")
    lines = [
        {
            "image_path": "Liver_AD/test/Ungood/img/0_100 a.png",
            "label": 1,
            "class_name": "Liver",
            "mask_path": "Liver_AD/test/Ungood/label/0_100 a.png",
        },
        {"image_path": "Liver_AD/test/good/img/1_3.png", "label": 0.0, "class_name": "Liver", "mask_path": ""},
        {"image_path": str(far), "label": 1, "class_name": "Liver", "mask_path": None},
        {"image_path": "b.png", "label": "bad"},
    ]
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/Liver.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\n", encoding="utf-8")
    (tmp_path / "lists/Brain.jsonl").write_text("{}", encoding="utf-8")
    data = read_benchmark("bmad_liver", tmp_path / "lists")
    assert _labels(data) == [("0_100 a.png", 1), ("1_3.png", 0), ("x.png", 1)]
    assert _pairs(data) == {"0_100 a.png": "0_100 a.png", "1_3.png": None, "x.png": None}
    assert _kinds(data) == ["bad_record", "missing_mask", "unexpected_count"]


def test_the_jsonl_of_another_set_is_not_taken_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "Brain.jsonl").write_text('{"image_path": "a.png", "label": 1}', encoding="utf-8")
    with pytest.raises(ConfigError, match="No images of BMAD Liver"):
        read_benchmark("bmad_liver", tmp_path)


@pytest.mark.parametrize("root", ["Brain", "Brain_AD", "", "BMAD/Brain", "Brain_AD/Brain_AD"])
@pytest.mark.parametrize("masks", ["label", "anomaly_mask", "Label"])
@pytest.mark.parametrize(("image", "ungood"), [("img/", "Ungood"), ("", "ungood")])
def test_bmad_is_read_in_every_variant(tmp_path: Path, root: str, masks: str, image: str, ungood: str) -> None:
    test = tmp_path / root / "test"
    _images(test, [f"good/{image}00000_96.png", f"{ungood}/{image}00002_60.png", f"{ungood}/{image}00002_68.png"])
    _masks(test, [f"{ungood}/{masks}/00002_60.png"])
    write_mask(test / f"good/{masks}/00000_96.png", empty=True)
    _images(tmp_path / root, [f"valid/{ungood}/{image}00124_60.png", f"train/good/{image}00003_60.png"])
    _images(tmp_path / root, ["../Liver/test/good/img/0_1.png"] if root else [])
    data = read_benchmark("bmad_brain", tmp_path)
    assert sorted((r.label, r.image.name, r.subject) for r in data.records) == [
        (0, "00000_96.png", "00000"),
        (1, "00002_60.png", "00002"),
        (1, "00002_68.png", "00002"),
    ]
    marked = {r.image.name: r.mask for r in data.records if r.label == 1}
    assert marked == {"00002_60.png": test / f"{ungood}/{masks}/00002_60.png", "00002_68.png": None}


def test_sets_without_pixel_labels_never_get_masks(tmp_path: Path) -> None:
    _images(tmp_path, ["test/good/1.png", "test/Ungood/img/2.png"])
    write_mask(tmp_path / "test/Ungood/label/2.png", empty=True)
    data = read_benchmark("bmad_oct2017", tmp_path)
    assert _pairs(data) == {"1.png": None, "2.png": None}


@pytest.mark.parametrize(
    ("benchmark", "stems", "subjects"),
    [
        ("bmad_brain", ["BraTS2021_00000_100", "BraTS2021_00001_7"], ["BraTS2021_00000", "BraTS2021_00001"]),
        ("bmad_liver", ["volume-0_12", "volume-1_9"], ["volume-0", "volume-1"]),
        ("bmad_liver", ["0_100", "12_1"], ["0", "12"]),
        ("bmad_liver", ["0_100", "1_100", "other"], ["", "", ""]),
        ("bmad_liver", ["liver_100", "liver_101"], ["", ""]),
        ("bmad_liver", ["3_100", "3_101"], ["", ""]),
        ("bmad_oct2017", ["0_100", "1_100"], ["", ""]),
    ],
)
def test_subjects_come_from_names_only_where_all_names_fit(
    tmp_path: Path, benchmark: str, stems: list[str], subjects: list[str]
) -> None:
    _images(tmp_path, [f"test/Ungood/img/{stem}.png" for stem in stems])
    data = read_benchmark(benchmark, tmp_path)
    assert [r.subject for r in sorted(data.records, key=lambda r: stems.index(r.image.stem))] == subjects


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("ISBI2016_ISIC_Part1_Test_Data", "ISBI2016_ISIC_Part1_Test_GroundTruth"),
        ("ISIC/skin/test/lesion", "ISIC/skin/ISBI2016_ISIC_Part1_Test_GroundTruth"),
        ("skin/test/anomaly", "skin/ground_truth/anomaly"),
    ],
)
def test_isic_masks_are_found_by_their_ending(tmp_path: Path, images: str, masks: str) -> None:
    _images(tmp_path, [f"{images}/ISIC_{n}.jpg" for n in (3, 7, 8)])
    _masks(tmp_path, [f"{masks}/ISIC_{n}_Segmentation.png" for n in (3, 8)])
    _images(tmp_path, ["ISBI2016_ISIC_Part1_Training_Data/ISIC_9.jpg"])
    _masks(tmp_path, ["ISBI2016_ISIC_Part1_Training_GroundTruth/ISIC_9_Segmentation.png"])
    data = read_benchmark("isic", tmp_path)
    assert _pairs(data) == {
        "ISIC_3.jpg": "ISIC_3_Segmentation.png",
        "ISIC_7.jpg": None,
        "ISIC_8.jpg": "ISIC_8_Segmentation.png",
    }
    assert {r.label for r in data.records} == {1}
    assert _kinds(data) == ["missing_mask", "unexpected_count"]


@pytest.mark.parametrize(
    ("benchmark", "images", "masks", "ending"),
    [
        ("colondb", "CVC-ColonDB/images", "CVC-ColonDB/masks", ".png"),
        ("colondb", "images", "masks", ".bmp"),
        ("clinicdb", "CVC-ClinicDB/Original", "CVC-ClinicDB/Ground Truth", ".tif"),
        ("kvasir", "Kvasir-SEG/Kvasir-SEG/images", "Kvasir-SEG/Kvasir-SEG/masks", ".JPG"),
        ("endo", "polyps of day 1", "masks", ".jpg"),
        ("tn3k", "TN3K/test-image", "TN3K/test-mask", ".jpg"),
    ],
)
def test_images_beside_masks_are_paired_by_name(
    tmp_path: Path, benchmark: str, images: str, masks: str, ending: str
) -> None:
    _images(tmp_path, [f"{images}/{n}{ending}" for n in ("1", "2", "10 b")])
    _masks(tmp_path, [f"{masks}/{n}.png" for n in ("1", "10 b", "77")])
    data = read_benchmark(benchmark, tmp_path)
    assert _pairs(data) == {f"1{ending}": "1.png", f"10 b{ending}": "10 b.png", f"2{ending}": None}
    assert _kinds(data) == ["unused_masks", "missing_mask", "unexpected_count"]


def test_masks_that_share_no_name_are_paired_by_order_with_a_warning(tmp_path: Path) -> None:
    _images(tmp_path, ["images/a.png", "images/b.png"])
    _masks(tmp_path, ["masks/p1.png", "masks/p2.png"])
    data = read_benchmark("colondb", tmp_path)
    assert _pairs(data) == {"a.png": "p1.png", "b.png": "p2.png"}
    assert "paired_by_order" in _kinds(data)


def test_unexpected_counts_say_what_is_missing_and_how_files_end(tmp_path: Path) -> None:
    _images(tmp_path, ["yes/a.JPG", "yes/b.jpg", "no/c.jpg"])
    (problem,) = read_benchmark("br35h", tmp_path).problems
    assert (problem.kind, problem.severity) == ("unexpected_count", "warning")
    assert "1500 normal, 1500 abnormal. Found: 1 normal (1 .jpg), 2 abnormal (1 .JPG, 1 .jpg)" in problem.message
    assert "1499 normal missing and 1498 abnormal missing" in problem.message


def test_a_known_total_alone_is_compared_too(tmp_path: Path) -> None:
    _images(tmp_path, ["test/good/1.png", "test/Ungood/2.png"])
    (problem,) = read_benchmark("bmad_histopathology", tmp_path).problems
    assert "So 1995 images missing." in problem.message


def test_nothing_there_says_where_to_get_the_set_and_its_layout(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
    for folder in (tmp_path, tmp_path / "away"):
        with pytest.raises(ConfigError, match=r"test-image/ and test-mask/.*https://github.com/haifangong"):
            read_benchmark("tn3k", folder)


def test_volumes_are_no_pictures(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lits holds volumes"):
        read_benchmark("lits", tmp_path)


def test_a_set_of_several_classes_keeps_their_names(tmp_path: Path) -> None:
    for name in ("bone saw", "screw"):
        for kind in ("good", "bad"):
            write_image(tmp_path / name / kind / "a 1.JPG")
    data = read_benchmark("own", tmp_path)
    assert sorted((r.class_name, r.label) for r in data.records) == [
        ("bone saw", 0),
        ("bone saw", 1),
        ("screw", 0),
        ("screw", 1),
    ]


@pytest.mark.parametrize("inside", ["", "Dataset_BUSI_with_GT"])
def test_benign_malignant_and_normal_folders_are_read_and_several_masks_united(tmp_path: Path, inside: str) -> None:
    root = tmp_path / inside
    _images(root, [f"{kind}/{kind} ({n}).png" for kind in ("benign", "malignant", "normal") for n in (1, 2, 12)])
    _masks(root, [f"{kind}/{kind} ({n})_mask.png" for kind in ("benign", "malignant") for n in (1, 2, 12)])
    _masks(root, ["benign/benign (2)_mask_1.png", "benign/benign (2)_mask_2.png"])
    for n in (1, 2, 12):
        write_mask(root / f"normal/normal ({n})_mask.png", empty=True)
    data = check_data(read_benchmark("own", tmp_path), "evaluation")
    assert data.problems == ()
    assert _labels(data) == [
        (f"{kind} ({n}).png", int(kind != "normal"))
        for kind, n in ((kind, n) for kind in ("benign", "malignant", "normal") for n in (1, 12, 2))
    ]
    masks = {r.image.name: [path.name for path in (r.mask, *r.more_masks) if path] for r in data.records}
    assert masks["benign (2).png"] == ["benign (2)_mask.png", "benign (2)_mask_1.png", "benign (2)_mask_2.png"]
    assert masks["malignant (12).png"] == ["malignant (12)_mask.png"]


def test_folders_that_are_not_understood_are_named_with_their_number_of_pictures(tmp_path: Path) -> None:
    _images(tmp_path, ["normal/a.png", "bad/b.png", "glioma/c.png", "glioma/d.png", "pituitary/e.png"])
    (tmp_path / "notes").mkdir()
    (problem,) = (p for p in read_benchmark("own", tmp_path).problems if p.kind == "unknown_folders")
    assert problem.severity == "warning"
    assert "left out: glioma (2), pituitary (1)." in problem.message


def test_benign_beside_malignant_alone_is_not_guessed_to_be_abnormal(tmp_path: Path) -> None:
    _images(tmp_path, ["benign/a.png", "malignant/b.png"])
    with pytest.raises(ConfigError, match="No training data found"):
        read_benchmark("own", tmp_path)
