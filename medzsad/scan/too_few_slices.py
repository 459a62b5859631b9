"""Volumes of too few slices, from which a part is probably missing: one rule for all formats."""

from dataclasses import replace

from medzsad.errors import ReasonCode
from medzsad.scan.records import Candidate, ReadLimits


def checked_count(candidate: Candidate, slices: int, limits: ReadLimits, *, single_is_whole: bool = True) -> Candidate:
    """The candidate, refused or with a remark where its volume has too few slices.

    Args:
        candidate: What was found.
        slices: Slices along the slice axis; where a format does not name it, the fewest voxels along any axis.
        limits: With the fewest slices of a volume, and whether fewer are let through.
        single_is_whole: Whether one slice may be all there is, as in a picture, a projection or a NIfTI file.
    """
    if slices >= limits.min_slices or (single_is_whole and slices == 1):
        return candidate
    message = f"{candidate.label} has {slices} of at least {limits.min_slices} slices. A part is probably missing."
    if not limits.allow_irregular:
        message += " Use --allow-irregular to score what is there."
        return replace(candidate, code=ReasonCode.SERIES_TOO_FEW_SLICES, reason=message)
    return let_through(candidate, message)


def let_through(candidate: Candidate, message: str) -> Candidate:
    """The candidate with a remark on what it would be refused for without --allow-irregular."""
    return replace(candidate, reason="; ".join(part for part in (candidate.reason, message) if part))
