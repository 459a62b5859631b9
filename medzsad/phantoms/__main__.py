"""`python -m medzsad.phantoms OUT --count N --seed S [--healthy]`: phantoms as NIfTI files, and a sheet to look at."""

from pathlib import Path

import click
import nibabel as nib
import numpy as np

from medzsad.phantoms.records import PhantomVolume
from medzsad.phantoms.sheet import contact_sheet
from medzsad.phantoms.volume import make_phantom


@click.command()
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--count", default=9, show_default=True, type=click.IntRange(1), help="How many volumes.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Seed of the first; others follow.")
@click.option("--healthy", is_flag=True, help="Heads without lesions.")
def main(out: Path, count: int, seed: int, healthy: bool) -> None:
    """Writes generated heads into OUT: NAME.nii.gz, NAME_mask.nii.gz where there are lesions, and sheet.png."""
    out.mkdir(parents=True, exist_ok=True)
    volumes = []
    for number in range(seed, seed + count):
        volume = make_phantom(number, lesion=not healthy)
        _write(out, volume)
        volumes.append(volume)
        click.echo(f"{volume.name}: {len(volume.lesions)} lesions, {volume.mask.sum()} voxels of {volume.mask.size}")
    contact_sheet(volumes).save(out / "sheet.png", optimize=True)


def _write(out: Path, volume: PhantomVolume) -> None:
    """Writes one volume, and its mask if there is something in it."""
    files = [(volume.voxels, f"{volume.name}.nii.gz")]
    if volume.lesions:
        files.append((volume.mask.astype(np.uint8), f"{volume.name}_mask.nii.gz"))
    for array, name in files:
        image = nib.Nifti1Image(array, volume.affine_ras)
        image.set_sform(volume.affine_ras, code=1)
        image.set_qform(volume.affine_ras, code=1)
        nib.save(image, out / name)


if __name__ == "__main__":
    main()
