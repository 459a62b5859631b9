"""What scanners do to a picture: coils, noise, ringing, ghosts, distortion, beam hardening, streaks and rounding."""

import numpy as np
from scipy import fft, ndimage

from medzsad.phantoms.grids import Grid
from medzsad.phantoms.space import Field, Space, ellipsoid, noise


def harden_beam(rng: np.random.Generator, picture: Field, space: Space) -> Field:
    """The CT picture with dark bands between the petrous bones, cupping below the skull, and at times a head holder."""
    strength = rng.uniform(2, 18)
    low = space.near((-62, -60, -66), (62, 15, -18))
    across = np.exp(-(((low.y + 24) / 9) ** 2) - ((low.z + 41) / 9) ** 2) * (np.abs(low.x) < 40)
    stripes = 0.6 + 0.4 * np.sin(low.y * np.float32(rng.uniform(0.5, 0.9)) + low.x * np.float32(rng.normal(0, 0.05)))
    picture[low.box] -= np.float32(strength) * across * stripes * (picture[low.box] > -200)
    if rng.random() < 0.6:
        r = ellipsoid(space, (0, -30, 10), (92, 118, 140))
        holder = np.abs(r - np.float32(3)) - np.float32(rng.uniform(1.5, 5))
        under = (space.y < -60 + rng.uniform(-30, 20)) & (picture < -500)
        picture += np.where(under & (holder < 0), np.float32(rng.uniform(150, 900)), np.float32(0))
    return picture


def shade(rng: np.random.Generator, picture: Field, grid: Grid) -> Field:
    """The MR picture with the sensitivity of its coils: brighter near the surface, sloping through the head."""
    x, y, z = grid.positions()
    surface, slope = abs(rng.normal(0, 0.30)), rng.normal(0, 0.13, 3)
    r2 = (x / 75) ** 2 + ((y + 15) / 95) ** 2 + ((z - 10) / 80) ** 2
    gain = 1 + np.float32(surface) * (r2 - 0.6)
    gain = gain + np.float32(slope[0]) * x / 75 + np.float32(slope[1]) * y / 95 + np.float32(slope[2]) * z / 80
    return np.asarray(picture * np.clip(gain, 0.3, 3.0))


def distort(rng: np.random.Generator, picture: Field, grid: Grid) -> Field:
    """The diffusion picture, shifted toward front or back near air in the skull, where its signal piles up."""
    x, y, z = grid.positions()
    bump = np.zeros(grid.shape, np.float32)
    for cx, cy, cz, size, height in ((0, 42, -30, 22, 9), (42, -28, -42, 14, 5), (-42, -28, -42, 14, 5)):
        r2 = ((x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2) / np.float32(size**2)
        bump += np.exp(-r2) * np.float32(height * rng.uniform(0.3, 1.3))
    axis = int(np.argmax(np.abs(grid.affine[1, :3])))
    step = float(grid.affine[1, axis])
    shift = bump / np.float32(step)
    places = list(np.meshgrid(*(np.arange(n, dtype=np.float32) for n in grid.shape), indexing="ij"))
    places[axis] = places[axis] + shift
    pile = np.clip(1 + np.gradient(shift, axis=axis), 0.1, 2.4)
    return np.asarray(ndimage.map_coordinates(picture, places, order=1, mode="constant") * pile, np.float32)


def disturb_mr(rng: np.random.Generator, picture: Field, grid: Grid) -> Field:
    """The MR picture with ghosts, Rician noise, and the ringing of a matrix that is smaller than the picture."""
    planes = [a for a in range(3) if a != grid.slice_axis]
    phase = planes[int(rng.integers(2))]
    if rng.random() < 0.3:
        part = picture.shape[phase] // int(rng.integers(2, 6))
        ghost = np.roll(picture, part, axis=phase) + np.roll(picture, -part, axis=phase)
        picture = picture + ghost * np.float32(rng.uniform(0.005, 0.04))
    sigma = np.float32(rng.uniform(0.004, 0.035))
    real = picture + rng.standard_normal(picture.shape, np.float32) * sigma
    picture = np.hypot(real, rng.standard_normal(picture.shape, np.float32) * sigma)
    if rng.random() < 0.6:
        picture = _truncated(picture, planes, phase, float(rng.uniform(0.6, 0.95)))
    return np.asarray(picture, np.float32)


def _truncated(picture: Field, planes: list[int], phase: int, share: float) -> Field:
    """The picture whose spatial frequencies end early along the phase axis, and softly along the other one."""
    spectrum = fft.fftn(picture, axes=planes)
    for axis in planes:
        frequency = np.abs(fft.fftfreq(picture.shape[axis])) * 2
        limit = share if axis == phase else min(1.0, share + 0.2)
        keep = (frequency <= limit).astype(np.float32)
        spectrum *= keep.reshape([-1 if a == axis else 1 for a in range(3)])
    return np.asarray(np.abs(fft.ifftn(spectrum, axes=planes)), np.float32)


def disturb_ct(rng: np.random.Generator, picture: Field, grid: Grid) -> Field:
    """The CT picture with the grainy noise of a reconstruction, cut off at its ends and in whole HU."""
    grain = rng.standard_normal(picture.shape, np.float32)
    blur = [0.0 if a == grid.slice_axis else float(rng.uniform(0.4, 0.9)) for a in range(3)]
    grain = ndimage.gaussian_filter(grain, blur)
    picture = picture + grain * np.float32(rng.uniform(1.2, 4.5) / max(float(grain.std()), 1e-6))
    return np.asarray(np.round(np.clip(picture, -1024, 3071)), np.float32)


def strip_skull(rng: np.random.Generator, distance: Field, space: Space) -> Field:
    """The distance to what a brain extraction keeps: perfect, with remains, or with bites taken out."""
    uneven = noise(rng, 40.0)[space.box]
    kind = rng.random()
    kept = distance - np.float32(rng.uniform(0.3, 2.0))
    if kind < 0.4:
        return np.asarray(kept)
    if kind < 0.75:
        kept = kept - np.maximum(uneven - 0.6, 0) * np.float32(rng.uniform(2, 7))
        for side in (1, -1):
            if rng.random() < 0.3:
                eye = ellipsoid(space, (side * 32, 65, -31), (13, 13, 13))
                kept = np.minimum(kept, eye)
        return np.asarray(kept)
    for _ in range(int(rng.integers(1, 4))):
        angle, height = rng.uniform(0, 2 * np.pi), rng.uniform(-30, 75)
        center = (68 * np.cos(angle), -17 + 88 * np.sin(angle), height)
        radius = rng.uniform(6, 18)
        kept = np.maximum(kept, -ellipsoid(space, center, (radius, radius, radius)))
    return np.asarray(kept, np.float32)


def blank_field(rng: np.random.Generator, picture: Field, grid: Grid, background: float) -> Field:
    """The picture with what its field of view leaves blank: margins of MR at times, all outside a circle for CT."""
    planes = [a for a in range(3) if a != grid.slice_axis]
    if background < 0:
        if rng.random() < 0.6:
            return picture
        steps = [np.linspace(-1, 1, picture.shape[a]) for a in planes]
        radius = np.hypot(*np.meshgrid(*steps, indexing="ij"))
        outside = np.expand_dims(radius > rng.uniform(0.97, 1.05), grid.slice_axis)
        return np.where(outside, np.float32(rng.choice([-1024, -2000])), picture)
    if rng.random() < 0.12:
        axis = planes[int(rng.integers(2))]
        margin = int(picture.shape[axis] * rng.uniform(0.03, 0.12))
        picture = np.moveaxis(picture.copy(), axis, 0)
        picture[:margin], picture[-margin - 1 :] = 0, 0
        picture = np.moveaxis(picture, 0, axis)
    if rng.random() < 0.1:
        picture = np.where(picture < np.percentile(picture, 99) * rng.uniform(0.04, 0.08), np.float32(0), picture)
    return picture


def store(rng: np.random.Generator, picture: Field) -> Field:
    """The MR picture in the units of an archive: scaled, at times cut off above, rounded to 8 bits or to integers."""
    high = float(np.percentile(picture[::2, ::2, ::2], 99.9)) or 1.0
    if rng.random() < 0.25:
        picture = np.minimum(picture, np.float32(high * rng.uniform(0.75, 1.0)))
    if rng.random() < 0.25:
        return np.asarray(np.round(np.clip(picture / np.float32(high), 0, 1) * 255), np.float32)
    return np.asarray(np.round(np.maximum(picture, 0) * np.float32(rng.uniform(200, 3000))), np.float32)
