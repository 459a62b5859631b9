"""From a seed to a volume: head, lesions, image, acquisition, and what the lesions measure on the final grid."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medzsad.phantoms import acquisition
from medzsad.phantoms.brain import Interior, cavity_envelope, lay_brain
from medzsad.phantoms.contrasts import TISSUES, Contrast, draw_contrast
from medzsad.phantoms.grids import Grid, average_grid, draw_grid
from medzsad.phantoms.head import lay_head
from medzsad.phantoms.layers import BRAIN_TISSUES, Layers
from medzsad.phantoms.lesion_kinds import BUILDERS
from medzsad.phantoms.lesions import LaidLesion, draw_plans, make_scene, push_field
from medzsad.phantoms.records import PhantomLesion, PhantomVolume
from medzsad.phantoms.space import Field, Space, grid_shape, noise, warped_space
from medzsad.phantoms.traits import draw_traits
from medzsad.phantoms.vessels import lay_glands, lay_harmless, lay_membranes, lay_vessels

_FAMILIES = {"flair": 0.22, "t1": 0.18, "t2": 0.16, "t1c": 0.13, "ct": 0.16, "pd": 0.07, "dwi": 0.08}
# A part of a lesion is visible from this difference to what it hides: share of the brightest tissue, or HU.
_VISIBLE = {"MR": 0.035, "CT": 3.0}
_ATTEMPTS = 20
# The surroundings of a lesion: brain within this distance.
_RING_MM = 5.0


@dataclass(frozen=True, slots=True)
class _Head:
    """A head on the working grid: its layers, the box of the brain, the space, and the lesions to be laid over it."""

    layers: Layers
    interior: Interior
    space: Space
    lesions: list[LaidLesion]
    fatty: float


def make_phantom(seed: int, *, lesion: bool) -> PhantomVolume:
    """A generated volume of a head; every number comes from the seed, and each call gives the same bytes.

    Args:
        seed: Not negative. A healthy head and one with a lesion of the same seed have nothing in common.
        lesion: Whether it has lesions; without, it may have any of the harmless variants.

    Raises:
        ValueError: The seed is negative.

    Example:
        >>> make_phantom(7, lesion=False).mask.any()
        np.False_
    """
    if seed < 0:
        raise ValueError(f"The seed of a phantom is {seed}; it must be 0 or greater.")
    rng = np.random.default_rng([seed, int(lesion), 0x50484E54])
    family = str(rng.choice(list(_FAMILIES), p=list(_FAMILIES.values())))
    for _ in range(_ATTEMPTS):
        volume = _attempt(rng, family, f"phantom_{family}_{'lesion' if lesion else 'healthy'}_{seed}", lesion)
        if bool(volume.lesions) == lesion:
            return volume
    raise RuntimeError(f"No lesion of seed {seed} was visible in {_ATTEMPTS} draws; report this seed as an error.")


def make_phantom_sequences(seed: int, families: Sequence[str]) -> tuple[PhantomVolume, ...]:
    """Generated volumes of one head with lesions in one frame of reference, one for each kind of scan.

    Each has a grid of its own, and a mask of the lesions that can be seen on it.

    Args:
        seed: Not negative.
        families: Such as ("flair", "t1", "t2"); the first one decides which lesions there are.
    """
    rng = np.random.default_rng([seed, 0x53455153])
    head = _head(rng, families[0], lesion=True)
    shift_mm = rng.normal(0, 25, 3)
    return tuple(
        _scanned(rng, head, family, f"phantom_{seed}_{family}", lesion=True, shift_mm=shift_mm) for family in families
    )


def _attempt(rng: np.random.Generator, family: str, name: str, lesion: bool) -> PhantomVolume:
    """One draw: its lesions may have vanished on a coarse grid."""
    return _scanned(rng, _head(rng, family, lesion), family, name, lesion)


def _scanned(
    rng: np.random.Generator,
    head: _Head,
    family: str,
    name: str,
    lesion: bool,
    shift_mm: NDArray[np.float64] | None = None,
) -> PhantomVolume:
    """One kind of scan of a head, whose place in the scanner is drawn where it is not given."""
    contrast = draw_contrast(rng, family, head.fatty)
    averaged = not lesion and family in ("t1", "t2", "pd") and rng.random() < 0.15
    grid = average_grid(rng) if averaged else draw_grid(rng, family)
    picture = head.layers.render(contrast.values, contrast.air, noise(rng, 4.0), contrast.grain)
    share, index = _lay_lesions(head.lesions, picture, contrast)
    voxels = _acquired(rng, head, picture, contrast, grid)
    brain = grid.sample(head.layers.share_of(BRAIN_TISSUES, dict.fromkeys(TISSUES, 0.0)), 1) > 0.7
    labels = _labels(share, index, grid) if lesion else np.zeros(grid.shape, np.int32)
    affine = grid.affine.copy()
    affine[:3, 3] += rng.normal(0, 25, 3) if shift_mm is None else shift_mm
    records = measured_lesions(voxels, labels, brain, [item.kind for item in head.lesions], affine)
    mask = np.isin(labels, list(records)) & (labels > 0)
    return PhantomVolume(
        name=name,
        voxels=np.ascontiguousarray(voxels, np.float32),
        affine_ras=affine,
        modality="CT" if family == "ct" else "MR",
        mask=mask,
        family=family,
        lesions=tuple(records.values()),
        plane=grid.plane,
        acquisition_axis=grid.slice_axis,
    )


def _head(rng: np.random.Generator, family: str, lesion: bool) -> _Head:
    """The head of one draw with its lesions."""
    traits = draw_traits(rng)
    plans = draw_plans(rng, family) if lesion else []
    space = warped_space(rng, traits.scale, float(rng.uniform(1.2, 2.4)), push_field(plans))
    layers = Layers()
    cavity = cavity_envelope(space)
    lay_head(rng, layers, space, cavity, traits)
    interior = lay_brain(rng, layers, space, cavity, traits)
    lay_membranes(layers, interior)
    lay_vessels(rng, layers, space)
    lay_glands(rng, layers, space, interior, traits)
    lay_harmless(rng, layers, interior, traits)
    lesions: list[LaidLesion] = []
    if plans:
        scene = make_scene(layers, interior, TISSUES)
        for plan in plans:
            lesions += BUILDERS[plan.kind](rng, scene, plan)
    return _Head(layers, interior, space, lesions, traits.fatty)


def _lay_lesions(lesions: list[LaidLesion], picture: Field, contrast: Contrast) -> tuple[Field, NDArray[np.int32]]:
    """Lays the lesions into the picture; the result is the share of each voxel that is visibly abnormal, and the
    number of the lesion (from 1) that it belongs to.
    """  # fmt: skip
    modality = "CT" if contrast.family == "ct" else "MR"
    share, index = np.zeros(grid_shape(), np.float32), np.zeros(grid_shape(), np.int32)
    for number, lesion in enumerate(lesions, start=1):
        for part in lesion.parts:
            under = picture[part.box]
            step = (np.float32(contrast.values[part.tissue]) - under) * part.share * np.float32(part.opacity)
            core = part.share > 0.5 * float(part.share.max(initial=0))
            seen = part.always or (bool(core.any()) and float(np.median(np.abs(step[core]))) > _VISIBLE[modality])
            under += step
            if seen:
                stronger = part.share > share[part.box]
                index[part.box][stronger & (part.share > 0.05)] = number
                share[part.box] = np.maximum(share[part.box], part.share)
    return share, index


def _acquired(rng: np.random.Generator, head: _Head, picture: Field, contrast: Contrast, grid: Grid) -> Field:
    """The picture as the scanner stores it."""
    ct = contrast.family == "ct"
    kept = _kept(rng, head.interior, grid) if rng.random() < (0.1 if ct else 0.25) else None
    if ct:
        picture = acquisition.harden_beam(rng, picture, head.space)
        voxels = acquisition.disturb_ct(rng, grid.sample(picture, 1, contrast.air), grid)
        voxels = acquisition.blank_field(rng, voxels, grid, contrast.air)
        return voxels if kept is None else np.where(kept, voxels, np.float32(rng.choice([0, -1000, -30])))
    voxels = np.maximum(grid.sample(picture), 0)
    if grid.averaged:
        return acquisition.shade(rng, voxels, grid)
    if contrast.family == "dwi":
        voxels = acquisition.distort(rng, voxels, grid)
    voxels = acquisition.disturb_mr(rng, acquisition.shade(rng, voxels, grid), grid)
    voxels = acquisition.store(rng, acquisition.blank_field(rng, voxels, grid, contrast.air))
    return voxels if kept is None else voxels * kept


def _kept(rng: np.random.Generator, inner: Interior, grid: Grid) -> NDArray[np.bool_]:
    """The voxels that a brain extraction keeps."""
    distance = np.minimum(np.minimum(inner.cerebrum, inner.cerebellum), inner.stem)
    whole = np.full(grid_shape(), np.float32(20))
    whole[inner.space.box] = acquisition.strip_skull(rng, distance, inner.space)
    return grid.sample(whole, 1, 20.0) < 0


def _labels(share: Field, index: NDArray[np.int32], grid: Grid) -> NDArray[np.int32]:
    """Number of the lesion of each voxel of the final grid, 0 where there is none.

    A voxel belongs to a lesion if at least half as much of it does as of the voxel that the lesion fills best.
    """
    shown = grid.sample(share, 1)
    filled = ndimage.grey_dilation(index, size=(5, 5, 5))
    numbers = np.where(index > 0, index, filled)
    matrix, offset = grid.to_working()
    taken = ndimage.affine_transform(numbers, matrix, offset, output_shape=grid.shape, order=0, mode="constant", cval=0)
    best = ndimage.maximum(shown, taken, np.arange(int(index.max()) + 1))
    best[0] = np.inf
    enough = np.where(best > 0.25, np.minimum(best, 1.0) * 0.5, np.inf)
    return np.where(shown >= enough[taken], taken, 0).astype(np.int32)


def measured_lesions(
    voxels: Field, labels: NDArray[np.int32], brain: NDArray[np.bool_], kinds: list[str], affine: NDArray[np.float64]
) -> dict[int, PhantomLesion]:
    """The lesions that are on the final grid by their number, measured there.

    Args:
        voxels: (i, j, k), the picture.
        labels: (i, j, k), number of the lesion of each voxel from 1, or 0.
        brain: (i, j, k), where brain tissue is.
        kinds: Kind of each lesion, in the order of the numbers.
        affine: (4, 4), voxel index to position in millimeters, RAS+.
    """
    voxel_mm3 = abs(float(np.linalg.det(affine[:3, :3])))
    healthy = voxels[brain & (labels == 0)]
    if not healthy.size:
        return {}
    low, high = np.percentile(healthy, (16, 84))
    spread = max(float(high - low) / 2, 1e-6)
    records = {}
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    margin = np.ceil(_RING_MM / spacing).astype(int)
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        wide = tuple(slice(max(0, b.start - m), b.stop + m) for b, m in zip(box, margin, strict=True))
        own = labels[wide] == number
        away = ndimage.distance_transform_edt(~own, sampling=spacing)
        ring = (away <= np.maximum(_RING_MM, 1.1 * spacing.min())) & (labels[wide] == 0) & brain[wide]
        around = voxels[wide][ring] if ring.any() else healthy
        contrast = abs(float(np.median(voxels[wide][own])) - float(np.median(around))) / spread
        index = np.argwhere(own).mean(axis=0) + [b.start for b in wide]
        x, y, z = (float(v) for v in affine[:3, :3] @ index + affine[:3, 3])
        records[number] = PhantomLesion(kinds[number - 1], float(own.sum()) * voxel_mm3, contrast, (x, y, z))
    return records
