"""Patients told by the file names of a set."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from medzsad.datasets.records import Problem, Record

# Each has the patient as its first group. What a name only might mean is left out: patients that are taken for one
# make intervals too wide, but slices of one patient that stand alone are what every set without such names has.
_PATTERNS = {
    "TCGA_xx_xxxx": re.compile(r"(TCGA[_-][A-Z0-9]{2}[_-][A-Z0-9]{4})[_-].+"),
    "sub-x": re.compile(r"(sub-[A-Za-z0-9]+)_.+"),
    "x_sliceN": re.compile(
        r"(.*?(?:\d{2,}|(?:patient|pat|subject|subj|sub|case|volume|vol)[ _-]?\d))[ _-](?:slice|slc|frame)[ _-]?\d+",
        re.I,
    ),
}
_FITTING = 0.9  # of the names of a set


def subjects_from_names(records: Sequence[Record]) -> tuple[list[Record], list[Problem]]:
    """The records with the patients that their names tell, and a remark that says so; else as they are.

    A pattern counts if nine of ten names fit it, it finds several patients, and one of them has several images. An
    image whose name does not fit stands alone.
    """
    if any(record.subject for record in records):
        return list(records), []
    for called, pattern in _PATTERNS.items():
        subjects = [_subject(pattern, record.image) for record in records]
        counts = Counter(subject for subject in subjects if subject)
        if len(counts) < 2 or max(counts.values()) < 2 or counts.total() < _FITTING * len(records):
            continue
        alone = len(records) - counts.total()
        message = (
            f"File names such as {called} tell {len(counts)} patients of {counts.total()} images, by which intervals "
            f"are taken{f'; {alone} with other names stand alone' if alone else ''}. Rename the files if that is wrong."
        )
        named = [replace(record, subject=subject) for record, subject in zip(records, subjects, strict=True)]
        return named, [Problem("subjects_from_names", "warning", ".", message)]
    return list(records), []


def _subject(pattern: re.Pattern[str], image: Path) -> str:
    match = pattern.fullmatch(image.stem)
    return match.group(1) if match else ""
