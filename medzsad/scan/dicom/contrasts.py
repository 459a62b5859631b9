"""The frames of an enhanced multi-frame file, sorted out into volumes by what their headers say."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from medzsad.scan.dicom.frames import CONTRAST_MARKS
from medzsad.scan.dicom.headers import SliceHeader
from medzsad.scan.dicom.stacks import shown_mark

Part = list[SliceHeader]
_MOST_DESCRIBED = 8


def contrasts(slices: Sequence[SliceHeader]) -> list[Part]:
    """The frames of one file, split so that no part mixes contrasts and, where a tag tells, none repeats a position.

    The order of the parts follows what tells them apart and not the file, in which frames may lie in any order.
    Frames that share a position and that nothing tells apart stay in one part: it is no regular stack and refused
    as such.
    """
    if not all(header.placed for header in slices):
        return [[header] for header in slices]
    parts = [list(slices)]
    for keyword in CONTRAST_MARKS:
        parts = [piece for part in parts for piece in _split(part, keyword)]
    for keyword in _other_keywords(slices):
        parts = [piece for part in parts for piece in _split_repeats(part, keyword)]
    return sorted(parts, key=_rank)


def described(part: Sequence[SliceHeader], parts: Sequence[Part]) -> str:
    """What tells one part from the others, such as "EffectiveEchoTime 4.6"; numbers and code words alone."""
    values = [_common_marks(one) for one in parts]
    own = _common_marks(part)
    differing = [keyword for keyword in own if len({one.get(keyword) for one in values}) > 1]
    named = [keyword for keyword in differing if not keyword.startswith("DimensionIndexValues")] or differing
    return ", ".join(f"{keyword} {shown_mark(keyword, own[keyword])}" for keyword in named)


def listed(parts: Sequence[Part]) -> str:
    """A sentence on what each part is, "" if no tag tells."""
    texts = [f"{n}: {text}" for n, part in enumerate(parts) if (text := described(part, parts))]
    if not texts:
        return ""
    more = f"; and {len(texts) - _MOST_DESCRIBED} more" if len(texts) > _MOST_DESCRIBED else ""
    return f" Frame {'; '.join(texts[:_MOST_DESCRIBED])}{more}."


def _other_keywords(slices: Sequence[SliceHeader]) -> list[str]:
    keywords = dict.fromkeys(keyword for header in slices for keyword, _ in header.marks)
    return [keyword for keyword in keywords if keyword not in CONTRAST_MARKS]


def _split(part: Part, keyword: str) -> list[Part]:
    pieces: dict[str, Part] = defaultdict(list)
    for header in part:
        pieces[dict(header.marks).get(keyword, "")].append(header)
    return list(pieces.values())


def _split_repeats(part: Part, keyword: str) -> list[Part]:
    """The part split by a tag if it repeats positions and the tag tells the repeats apart.

    A tag that runs along with the position (an index within the stack, a trigger time, even and odd slices) tells
    slices apart, not volumes: every piece but one has to cover most positions, and repeat them less.
    """
    positions = _positions(part)
    repeats = max(positions.values())
    if repeats == 1:
        return [part]
    pieces = _split(part, keyword)
    covered = [_positions(piece) for piece in pieces]
    most = all(2 * count > len(positions) for count in sorted(map(len, covered))[1:])
    fewer = all(max(piece.values()) < repeats for piece in covered)
    return pieces if len(pieces) > 1 and most and fewer else [part]


def _positions(part: Sequence[SliceHeader]) -> Counter[tuple[float, ...]]:
    """How often each position occurs, in the same orientation."""
    return Counter(
        tuple(round(value, 3) for value in (*header.position_lps_mm, *header.orientation)) for header in part
    )


def _common_marks(part: Sequence[SliceHeader]) -> dict[str, str]:
    """The tags that have one value in the whole part."""
    common = set(part[0].marks).intersection(*(header.marks for header in part[1:]))
    return {keyword: value for keyword, value in part[0].marks if (keyword, value) in common}


def _rank(part: Part) -> tuple[tuple[tuple[str, tuple[tuple[float, str], ...]], ...], int]:
    """What parts are sorted by: dimension indices, in which the file gives its own order, then the other tags."""
    common = sorted(_common_marks(part).items(), key=lambda item: not item[0].startswith("DimensionIndexValues"))
    return tuple((keyword, _natural(value)) for keyword, value in common), min(header.frame for header in part)


def _natural(value: str) -> tuple[tuple[float, str], ...]:
    """A key that sorts numbers by size, and before text."""
    keys = []
    for item in value.split("\\"):
        try:
            keys.append((float(item), ""))
        except ValueError:
            keys.append((float("inf"), item))
    return tuple(keys)
