"""Trains medzsad-mini: `python -m recipes.medzsad_mini.recipe recipes/medzsad_mini/config.yaml --data DATA
--out runs/mini`.

Two phases. In the first a small CLIP tower, its stem taken from EfficientNet-Lite2, learns on generated slices and some
industrial images to tell lesions from tissue in words and pixels; in the second it is frozen and Bayes-PFL prompts are
learned, half of each batch being industrial defects. The decision per lesion is then fitted on phantoms, and the
finished weights lie in OUT/decided. Interrupted and started again with the same folder, it goes on where it was.
"""

import json
import logging
from pathlib import Path

import click
import torch

from medzsad.errors import ConfigError
from medzsad.training.calibrate import calibrate
from medzsad.weights.card import ContextCard, WeightsCard
from medzsad.weights.load import load_detector
from medzsad.weights.store import save_weights
from recipes.medzsad_mini.alignment import align
from recipes.medzsad_mini.auxiliary import SHIPPABLE, load_auxiliary, read_records, split_records
from recipes.medzsad_mini.captions import vocabulary
from recipes.medzsad_mini.config import MiniConfig, read_mini_config
from recipes.medzsad_mini.decide import decide_weights, told
from recipes.medzsad_mini.figures import held_out_figures, sound_images
from recipes.medzsad_mini.model import MODEL_CONFIG, SPEC
from recipes.medzsad_mini.prompts import fresh_prompts, frozen_tower, learn_prompts

WEIGHTS_NAME = "medzsad-mini"
_CLASS_NAME = "tissue"
# What paid on generated volumes of the other kind (docs/concepts/context.md).
_CONTEXT = ContextCard(smooth_axis_mm=6.0, air="ignore")


def train_mini(config: MiniConfig, out: Path) -> Path:
    """The weights file that the recipe leads to, in `out`, with its figures in `figures.json` beside it.

    Raises:
        ConfigError: The auxiliary images cannot be read, or a class may not be shipped.
    """
    barred = sorted(set(config.classes) - set(SHIPPABLE))
    if barred:
        raise ConfigError(f"Weights trained on {', '.join(barred)} may not be shipped. Use: {', '.join(SHIPPABLE)}.")
    torch.set_num_threads(config.threads)
    training, validation = split_records(read_records(config.auxiliary, config.classes))
    train, held_out = load_auxiliary(training), load_auxiliary(validation)
    words = vocabulary()
    model = align(config, words, train, held_out, out)
    clip = frozen_tower(model, words)
    prompts = learn_prompts(config, clip, fresh_prompts(model, words, config.seed), train, out)
    path = out / f"{WEIGHTS_NAME}.safetensors"
    card = describe(config)
    save_weights(path, prompts, card, clip, half=True)
    # Calibrated and measured as stored: float16, read back.
    detector = load_detector(path)
    found = calibrate(detector, sound_images(held_out, SPEC.image_size), class_name=_CLASS_NAME)
    chosen = {
        "threshold": found.threshold,
        "threshold_provenance": found.provenance,
        "normal_scores": found.normal_scores,
    }
    save_weights(path, prompts, card.model_copy(update=chosen), clip, half=True)
    figures = {"threshold": found.threshold, **found.metrics, **held_out_figures(detector, held_out, found.threshold)}
    (out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return path


def describe(config: MiniConfig) -> WeightsCard:
    """What the weights file says about itself, but for the threshold."""
    return WeightsCard(
        name=WEIGHTS_NAME,
        spec=SPEC,
        clip_name="medzsad-mini",
        clip_config=MODEL_CONFIG,
        options={"stage": 2},
        samples=config.samples,
        class_name=_CLASS_NAME,
        context=_CONTEXT,
        license="CC BY-SA 4.0",
        source="Trained by recipes.medzsad_mini.recipe; see docs/embedded-model.md.",
        trained_on=(
            "Generated images; the stem starts from EfficientNet-Lite2 (ImageNet; Apache-2.0); industrial images: ball "
            "screw (2Obe/BSData, CC BY-SA 4.0), printed circuit board (DeepPCB via Charmve/Surface-Defect-Detection, "
            "MIT), road (ruirangerfan/stereo_pothole_datasets, MIT), cookie (aws-samples/amazon-lookout-for-vision, "
            "MIT-0 and CC BY-SA 4.0). No medical image."
        ),
        description="Small embedded model, trained on generated images and industrial defects; research use only.",
    )


@click.command()
@click.argument("config", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), help="What paths count from.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("runs/mini"), show_default=True)
def main(config: Path, data: Path | None, out: Path) -> None:
    """Train medzsad-mini as CONFIG says; goes on from what OUT holds."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        recipe = read_mini_config(config, data)
        decided = out / "decided" / f"{WEIGHTS_NAME}.safetensors"
        decisions = decide_weights(train_mini(recipe, out), decided, recipe.decision_volumes, first_seed=0)
    except ConfigError as error:
        raise click.UsageError(str(error)) from None
    click.echo("\n".join([*told(decisions), f"Weights: {decided}"]))


if __name__ == "__main__":
    main()
