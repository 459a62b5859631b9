"""What a detection method is made of.

A method brings a `PromptModel`, the learned part, and says in a `Method` record what it asks of its tower, how its
authors' files are imported and how it is trained. Everything else, from reading scans to training loops, is the same
for all methods and lies elsewhere.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from medzsad.clip.spec import TowerSpec
from medzsad.clip.tower import Tower
from medzsad.clip.vision import ImageFeatures
from medzsad.methods.objective import Objective, Truth

Draws = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Prediction:
    """Scores of a batch of images, float32.

    Attributes:
        score_map: (b, H, W) in [0, 1], probability of abnormal at the size of the input.
        image_score: (b,) in [0, 1].
        spread: (b, H, W) standard deviation of the map over the prompt samples; None where there is one sample only.
    """

    score_map: Tensor
    image_score: Tensor
    spread: Tensor | None


class Options(BaseModel):
    """Options of a method: closed, and the same for all images once chosen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PromptModel(nn.Module, ABC):
    """The learned part of a method; it holds no tower, knows no device, draws no random numbers and reads no file.

    Attributes:
        sizes: Arguments of the constructor, all of them whole numbers.
        uses_class_names: Whether the word for an object takes part in the prompts; `words_for` then gives it.
        shared_draws: Names of the random draws that all images share, whatever the source of noise.
    """

    sizes: dict[str, int]
    uses_class_names: ClassVar[bool] = False
    shared_draws: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    @abstractmethod
    def sizes_for(cls, tower: Tower, options: Any) -> dict[str, int]:
        """The sizes of a fresh model on `tower`; `options` are those of its training."""

    @property
    @abstractmethod
    def tower_widths(self) -> tuple[int | None, int | None, int | None]:
        """Joint, text and patch width of the towers that the model fits, as `Tower.widths`; None where any will do."""

    @property
    def layer_count(self) -> int | None:
        """How many layers of patch tokens the model reads; None if it takes any number."""
        return None

    @abstractmethod
    def forward(
        self,
        tower: Tower,
        features: ImageFeatures,
        class_names: Sequence[str],
        draws: Draws,
        size: tuple[int, int],
        options: Any,
    ) -> Prediction:
        """Scores of images from their features.

        Args:
            tower: Its text side.
            features: Of (b) images.
            class_names: One per image.
            draws: The numbers that `draw_shapes` asks for.
            size: (H, W) of the map.
            options: How the weights are used.
        """

    def words_for(self, class_name: str) -> str:
        """The words that stand for a class in the prompts."""
        return class_name.lower() if self.uses_class_names else ""

    def draw_shapes(self, samples: int) -> dict[str, tuple[int, ...]]:
        """Name and shape, without the batch, of the standard normal draws for `samples` prompt samples; {} for none."""
        del samples
        return {}

    def check_options(self, options: Any) -> None:
        """Raises a ConfigError if the model cannot be used with these options."""

    def check_tower(self, tower: Tower) -> None:
        """Raises a WeightsError if the model was learned on another tower, as far as it can tell."""

    def prepare_training(self) -> None:
        """Adds what only training needs; an untrained or imported model may lack it."""

    def start_from(self, tower: Tower, options: Any) -> None:
        """Sets what a fresh model takes from the tower that it is trained on.

        Args:
            tower: The tower.
            options: Those of the training.
        """

    def reset(self) -> int:
        """The number of images that the model has adapted to, all of them forgotten; 0 for a model that never does."""
        return 0

    def inference_state(self) -> dict[str, Tensor]:
        """The tensors that a weights file holds, floats all of them: everything that scores depend on."""
        return self.state_dict()

    def trace(
        self, tower: Tower, features: ImageFeatures, class_names: Sequence[str], draws: Draws, options: Any
    ) -> dict[str, Tensor]:
        """Named intermediate results, batch first, for comparison with other programs."""
        del tower, features, class_names, draws, options
        return {}


@dataclass(frozen=True, slots=True)
class Translation:
    """An authors' state dict under our names.

    Attributes:
        sizes: Arguments of the method's module.
        state: Its state dict, float32.
        options: How the weights are used, as far as the file or its name says; the method's defaults otherwise.
        aliases: Keys that repeat others.
        ignored: Keys that no score depends on.
    """

    sizes: dict[str, int]
    state: dict[str, Tensor]
    options: dict[str, Any]
    aliases: tuple[str, ...]
    ignored: tuple[str, ...]


class Importer(Protocol):
    """Reads the files that a method's authors publish and train."""

    def recognizes(self, content: object) -> bool:
        """Whether the content of a PyTorch file looks like this method's."""
        ...

    def translate(self, content: Any, path: Path) -> Translation:
        """The content under our names, every key accounted for.

        Args:
            content: Recognized.
            path: Of the file, whose name may carry meaning.

        Raises:
            WeightsError: A key is missing or unknown, a shape is wrong, or entries contradict each other.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A detection method.

    Attributes:
        name: In configs, weights files and on the command line.
        title: For people.
        source: The paper.
        model: The learned part.
        spec: What the published weights ask of their tower.
        clip_name: Tower of the published weights.
        options: How weights are used.
        train_options: How they are trained; None if they cannot be trained here.
        objective: Made of the checked train options.
        memory: Makes the model from one pass over auxiliary images, for methods that learn nothing by steps; these have
            no train options, and the options of their training are those with which the weights are used.
        importer: Of the authors' files; None if there are none.
        guidable: Whether it can read features that a second backbone guides, see `medzsad.clip.guide`.
        protocol: Evaluation protocol of the authors, see `medzsad.evaluation.protocol`.
        samples: Prompt samples per image that the authors take; 1 if nothing is sampled.
        code_license: Of the authors' program, none of which is copied here; empty if not stated.
        fidelity: `exact` if it reproduces numbers of the authors' program, `reconstruction` if it was built from a text
            without a program to compare with; empty if not stated.
        scope: What the fidelity covers and what it leaves out, in a sentence.
    """

    name: str
    title: str
    source: str
    model: type[PromptModel]
    spec: TowerSpec
    clip_name: str
    options: type[BaseModel] = Options
    train_options: type[BaseModel] | None = None
    objective: Callable[[Any], Objective] | None = None
    memory: Callable[[Iterable[tuple[ImageFeatures, Truth]]], PromptModel] | None = None
    importer: Importer | None = None
    guidable: bool = False
    protocol: str = "plain"
    samples: int = 1
    code_license: str = ""
    fidelity: Literal["", "exact", "reconstruction"] = ""
    scope: str = ""
