"""Several scans of one head to one result: each is scored by itself, and their scores are put together."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from medzsad.config import RunConfig
from medzsad.context.sequences import SequenceScore, common_share, fuse_sequences, scored_voxels
from medzsad.errors import ReasonCode, RefusedError
from medzsad.methods.ensemble import Model
from medzsad.run.pipeline import ScoredScan, decided, score_scan, with_highest, with_modality
from medzsad.run.rule import rule_for
from medzsad.scan.reader import read_scan
from medzsad.scan.records import Candidate, ReadLimits, Scan
from medzsad.scan.together import by_fineness
from medzsad.volume.records import CaseResult

_LEAST_COMMON = 0.5  # share of the smaller field of view


@dataclass(frozen=True, slots=True)
class ScansTogether:
    """Scans of one head in one frame of reference.

    Attributes:
        name: Of the case that they become.
        scans: At least two; that with the smallest voxels comes first.
        left_out: Why others are not among them, a sentence each.
    """

    name: str
    scans: tuple[Scan, ...] = field(repr=False)
    left_out: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, scans: Sequence[Scan], left_out: Sequence[str] = ()) -> "ScansTogether":
        """The scans that cover one another, in order.

        Raises:
            RefusedError: NOT_TOGETHER, fewer than two are left.
        """
        ordered = sorted(scans, key=lambda scan: by_fineness(scan.spacing_mm, scan.name))
        kept, out = ordered[:1], list(left_out)
        for scan in ordered[1:]:
            share = common_share((kept[0].shape, scan.shape), (kept[0].affine_ras, scan.affine_ras))
            if share >= _LEAST_COMMON:
                kept.append(scan)
                continue
            out.append(
                f"{scan.name} was left out: it and {kept[0].name} have {share:.0%} of the smaller field of view in "
                "common, so they hardly show the same place."
            )
        if len(kept) < 2:
            found = f"{name} needs two scans, and {len(kept)} of {len(kept) + len(out)} can be used. "
            raise RefusedError(ReasonCode.NOT_TOGETHER, found + " ".join([*out, "Score them without --together."]))
        return cls(name, tuple(kept), tuple(out))


def read_together(candidate: Candidate, limits: ReadLimits) -> ScansTogether:
    """The scans of a candidate with parts; one that cannot be read is left out.

    Raises:
        RefusedError: NOT_TOGETHER, fewer than two are left.
    """
    scans, left_out = [], []
    for part in candidate.parts:
        try:
            scans.append(read_scan(part, limits))
        except RefusedError as refusal:
            left_out.append(f"{part.name} was left out: {refusal}")
    return ScansTogether.of(candidate.name, scans, left_out)


def detect_together(together: ScansTogether, detector: Model, config: RunConfig) -> CaseResult:
    """The result for several scans of one head, in the grid of the one with the smallest voxels.

    Every scan is sliced as it was acquired, for a thick slice that is cut across shows nothing; its scores are then
    brought to the finest grid, and the mean of their logits is decided on as the scores of one scan are.

    Raises:
        RefusedError: Fewer than two scans show tissue.
    """
    detector.word(config.class_name)
    first, parts, used, left_out = None, [], [], []
    for scan in together.scans:
        try:
            scored = score_scan(with_modality(scan, config), detector, config)
        except RefusedError as refusal:
            left_out.append(f"{scan.name} was left out: {refusal}")
            continue
        first = scored if first is None else first
        parts.append(scored_sequence(scored))
        used.append(scan.name)
    if first is None or len(parts) < 2:
        message = f"{together.name} needs two scans with tissue. " + " ".join(left_out)
        raise RefusedError(ReasonCode.NOT_TOGETHER, message)
    fused = fuse_sequences(parts, first.scan.shape, first.scan.affine_ras)
    if first.outside is not None:
        fused[first.outside] = 0.0
    note = (
        f"The scores of {', '.join(used)} were put together in the grid of {first.scan.name}, without registration. "
        "The decision was calibrated on single scans."
    )
    whole = replace(
        first,
        scan=replace(first.scan, name=together.name, notes=(*first.scan.notes, note)),
        score=fused,
        slices=with_highest(first.slices, fused, first.stack.plan.axis),
        spread=lambda: None,
    )
    result = decided(whole, rule_for(first.scan, detector, config), config)
    return replace(result, warnings=(*together.left_out, *left_out, *result.warnings))


def scored_sequence(scored: ScoredScan) -> SequenceScore:
    """The scores of a scan as they are put together with those of others."""
    stack, scan = scored.stack, scored.scan
    where = scored_voxels(scan.shape, stack.indices[stack.tissue], stack.plan.axis, scored.outside)
    return SequenceScore(scored.score, where, scan.affine_ras)
