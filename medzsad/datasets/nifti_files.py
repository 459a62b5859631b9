"""NIfTI files in folders, and what their names tell."""

import re
from pathlib import Path

from medzsad.datasets.folders import subfolders

_LABEL = (
    r"roi|rois|mask|masks|seg|segm|segmentation|label|labels|lesion|lesions|truth|gt|ground_?truth|annotation|consensus"
)
_LABEL_ENDING = re.compile(rf"[._ -]({_LABEL})$", re.I)
_LABEL_WORD = re.compile(rf"(^|[._ -])({_LABEL})\d*($|[._ -])", re.I)


def nifti_stem(path: Path) -> str:
    """The file name without .nii or .nii.gz."""
    return re.sub(r"\.nii(\.gz)?$", "", path.name, flags=re.I)


def nifti_in(folder: Path) -> list[Path]:
    """NIfTI files directly in a folder, sorted, without hidden ones."""
    if not folder.is_dir():
        return []
    named = [path for path in folder.iterdir() if re.search(r"\.nii(\.gz)?$", path.name, re.I)]
    return sorted(path for path in named if not path.name.startswith(".") and path.is_file())


def folders_down_to(folder: Path, levels: int) -> list[Path]:
    """The folder, those in it and so on, `levels` down."""
    found, level = [folder], [folder]
    for _ in range(levels):
        level = [inner for outer in level for inner in subfolders(outer)]
        found += level
    return found


def label_base(path: Path) -> str | None:
    """The stem without an ending such as "_mask" or "_seg"; None if it has none."""
    stem = nifti_stem(path)
    return _LABEL_ENDING.sub("", stem) if _LABEL_ENDING.search(stem) else None


def is_named_label(path: Path) -> bool:
    """True if a word of the name says that the file holds labels."""
    return bool(_LABEL_WORD.search(nifti_stem(path)))
