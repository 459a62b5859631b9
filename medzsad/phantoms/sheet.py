"""A contact sheet: three planes of every volume, through its largest lesion or its middle, the mask outlined."""

from collections.abc import Sequence

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from medzsad.phantoms.records import PhantomVolume

TILE_PIXELS = 192
_TILE_MM = 236.0
_CAPTION_PIXELS = 14
_OUTLINE = (255, 90, 40)


def contact_sheet(volumes: Sequence[PhantomVolume], *, volumes_per_row: int = 3) -> Image.Image:
    """The sheet: per volume an axial, a coronal and a sagittal tile of 236 mm, right on the left; 64 grays.

    Args:
        volumes: At least one.
        volumes_per_row: How many volumes stand side by side, each with three tiles.

    Raises:
        ValueError: There are no volumes.
    """
    if not volumes:
        raise ValueError("A contact sheet needs at least one volume.")
    rows = -(-len(volumes) // volumes_per_row)
    columns = min(len(volumes), volumes_per_row)
    height = TILE_PIXELS + _CAPTION_PIXELS
    sheet = Image.new("RGB", (columns * 3 * TILE_PIXELS, rows * height))
    pen = ImageDraw.Draw(sheet)
    for number, volume in enumerate(volumes):
        left, top = number % volumes_per_row * 3 * TILE_PIXELS, number // volumes_per_row * height
        for place, tile in enumerate(_tiles(volume)):
            sheet.paste(tile, (left + place * TILE_PIXELS, top + _CAPTION_PIXELS))
        pen.text((left + 3, top + 1), _caption(volume), fill=(200, 200, 200))
    palette = Image.new("P", (1, 1))
    palette.putpalette([*(level for gray in range(0, 256, 4) for level in (gray,) * 3), *_OUTLINE])
    return sheet.quantize(palette=palette, dither=Image.Dither.NONE)


def _caption(volume: PhantomVolume) -> str:
    """Family, plane, and what the largest lesion is."""
    head = f"{volume.family.upper()} {volume.plane} {'x'.join(map(str, volume.voxels.shape))}"
    if not volume.lesions:
        return f"{head}  healthy"
    largest = max(volume.lesions, key=lambda lesion: lesion.volume_mm3)
    more = f" (+{len(volume.lesions) - 1})" if len(volume.lesions) > 1 else ""
    return f"{head}  {largest.kind}{more}  {largest.volume_mm3 / 1000:.2g} ml  contrast {largest.contrast:.2g}"


def _tiles(volume: PhantomVolume) -> list[Image.Image]:
    """Axial, coronal and sagittal tile, all through one point."""
    image = nib.as_closest_canonical(nib.Nifti1Image(volume.voxels, volume.affine_ras))
    mask = nib.as_closest_canonical(nib.Nifti1Image(volume.mask.astype(np.uint8), volume.affine_ras)).get_fdata() > 0
    voxels = _gray(image.get_fdata(dtype=np.float32), volume.modality)
    spacing = np.linalg.norm(image.affine[:3, :3], axis=0)
    point = [n // 2 for n in voxels.shape]
    if volume.lesions:
        largest = max(volume.lesions, key=lambda lesion: lesion.volume_mm3)
        index = np.linalg.inv(image.affine) @ [*largest.centroid_ras_mm, 1]
        point = [int(np.clip(round(float(v)), 0, n - 1)) for v, n in zip(index[:3], voxels.shape, strict=True)]
    tiles = []
    for axis in (2, 1, 0):
        across, up = (a for a in range(3) if a != axis)
        picture, outline = (np.take(a, point[axis], axis=axis).T[::-1] for a in (voxels, mask))
        tiles.append(_tile(picture[:, ::-1], outline[:, ::-1], float(spacing[across]), float(spacing[up])))
    return tiles


def _gray(voxels: NDArray[np.float32], modality: str) -> NDArray[np.uint8]:
    """Gray values 0 to 255: the brain window for CT, up to the brightest thousandth for MR."""
    low, high = (-20.0, 90.0) if modality == "CT" else (0.0, float(np.percentile(voxels, 99.7)))
    return np.asarray(np.clip((voxels - low) / max(high - low, 1e-6), 0, 1) * 255, np.uint8)


def _tile(picture: NDArray[np.uint8], mask: NDArray[np.bool_], width_mm: float, height_mm: float) -> Image.Image:
    """One slice in true proportions in the middle of a tile, the mask outlined."""
    scale = TILE_PIXELS / _TILE_MM
    size = (max(1, round(picture.shape[1] * width_mm * scale)), max(1, round(picture.shape[0] * height_mm * scale)))
    gray = Image.fromarray(np.ascontiguousarray(picture)).resize(size, Image.Resampling.BILINEAR)
    shape = np.asarray(Image.fromarray(np.ascontiguousarray(mask)).resize(size, Image.Resampling.NEAREST))
    edge = ndimage.binary_dilation(shape) & ~shape
    colors = np.repeat(np.asarray(gray)[..., None], 3, axis=2)
    colors[edge] = _OUTLINE
    tile = Image.new("RGB", (TILE_PIXELS, TILE_PIXELS))
    tile.paste(Image.fromarray(colors), ((TILE_PIXELS - size[0]) // 2, (TILE_PIXELS - size[1]) // 2))
    return tile
