"""Which scans show one head in one frame of reference, so that their scores can be put together."""

import hashlib
import math
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from medzsad.scan.names import file_case_name
from medzsad.scan.records import Candidate

# What files are called after, in BIDS, BraTS and by hand: "sub-01_T1w", "BraTS-GLI-00001-000-t2f", "flair".
_SEQUENCES = r"t1(w|n|c|ce|gd|post)?|mprage|t2(w|f|s|star)?|flair|pd(w|t2)?|dwi|adc|swi|inplanet[12]"
_LAST_WORD = re.compile(rf"(?:(?P<common>.+)[_-])?(?:{_SEQUENCES})", re.IGNORECASE)
_NUMBERED = 100  # tries to find a name that no case has


def with_groups(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates, and after them one more for each group of at least two that can be scored together.

    DICOM series belong together if they have study, frame of reference (PS3.3 C.7.4.1) and modality in common; files if
    they lie in one folder and their names differ in the word for the sequence alone. Single slices and pictures stay
    alone, and so does whatever is refused.

    Args:
        candidates: Of one discovery.
    """
    groups: dict[tuple[str, ...], list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        key = _group_of(candidate)
        if key is not None:
            groups[key].append(candidate)
    taken = {candidate.name.casefold() for candidate in candidates}
    found = [_together(key, parts, taken) for key, parts in groups.items() if len(parts) > 1]
    return [*candidates, *found]


def _group_of(candidate: Candidate) -> tuple[str, ...] | None:
    """What the parts of a group have in common; None for a scan that stays alone."""
    alone = not candidate.eligible or candidate.frame is not None or bool(candidate.reason)
    if alone or candidate.kind == "picture" or len(candidate.shape) != 3 or min(candidate.shape) < 2:
        return None
    if candidate.kind == "dicom":
        # Anonymizing programs may give all patients one frame of reference; the study must be the same as well.
        place = (candidate.study_uid, candidate.frame_of_reference)
        return ("dicom", *place, candidate.modality) if all(place) else None
    common = _common_part(candidate)
    return None if common is None else ("file", str(candidate.files[0].parent), common.casefold())


def _common_part(candidate: Candidate) -> str | None:
    found = _LAST_WORD.fullmatch(file_case_name(candidate.files[0].name))
    return None if found is None else found["common"] or ""


def _together(key: tuple[str, ...], parts: Sequence[Candidate], taken: set[str]) -> Candidate:
    ordered = sorted(parts, key=lambda part: part.name)
    finest = min(ordered, key=lambda part: by_fineness(part.spacing_mm, part.name))
    name = wished = _name(key, ordered[0])
    for number in range(2, _NUMBERED):
        if name.casefold() not in taken:
            break
        name = f"{wished}-{number}"
    taken.add(name.casefold())
    return replace(
        finest,
        name=name,
        files=tuple(file for part in ordered for file in part.files),
        label=f"{len(ordered)} scans together: {', '.join(part.name for part in ordered)}",
        series_uid=None,
        series_number=None,
        description="",
        parts=tuple(ordered),
    )


def by_fineness(spacing_mm: Sequence[float], name: str) -> tuple[float, str]:
    """What scans are ordered by: the volume of a voxel, then the name; a scan of unknown spacing comes last."""
    return round(math.prod(spacing_mm or (math.inf,)), 6), name


def _name(key: tuple[str, ...], first: Candidate) -> str:
    if key[0] == "dicom":
        return f"together-{hashlib.sha256(' '.join(key[1:]).encode()).hexdigest()[:10]}"
    common = _common_part(first) or file_case_name(first.files[0].parent.name + ".")
    return f"{common}-together"
