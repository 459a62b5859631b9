"""Authors' weights files, read safely, recognized by their content, and stored as ours."""

import pickle
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from medzsad.clip.spec import TowerSpec
from medzsad.errors import WeightsError
from medzsad.files import file_sha256
from medzsad.methods.base import Method, Translation
from medzsad.methods.detector import checked_options
from medzsad.methods.registry import find_method, method_names
from medzsad.weights.card import WeightsCard
from medzsad.weights.manifest import Release, cache_dir, list_releases
from medzsad.weights.store import save_weights

_THRESHOLD = "0.5, the middle of the range; not calibrated. The authors publish no threshold for one scan."
# What files of other kinds are recognized by, for a message that helps.
_OTHERS = (
    ({"prompt_learner"}, "a prompt learner of another method"),
    ({"trainable_linearlayer"}, "weights of APRIL-GAN"),
    ({"seg_adapters", "det_adapters"}, "weights of MVFA"),
    ({"state_dict"}, "a checkpoint of open_clip"),
    ({"visual.proj"}, "the weights of a CLIP tower"),
    ({"visual.conv1.weight"}, "the weights of a CLIP tower"),
)


def read_checkpoint(path: Path) -> object:
    """The content of a PyTorch file: tensors and plain containers, nothing that could run code.

    Raises:
        WeightsError: There is no such file, it is damaged, or it holds something else.
    """
    if not path.is_file():
        raise WeightsError(f"There is no file {path}.")
    try:
        content: object = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # PyTorch's own text advises to switch its protection off.
        raise WeightsError(
            f"{path.name} is not a file of PyTorch weights, or holds more than tensors, which is refused because "
            "loading it could run code. Get it from its authors again."
        ) from error
    except Exception as error:  # what a damaged pickle raises is whatever its bytes happen to call for
        raise WeightsError(
            f"{path.name} is not a readable file of PyTorch weights ({type(error).__name__}). Fetch it again."
        ) from error
    return content


def recognized_method(content: object, path: Path) -> Method:
    """The method whose authors write files of this content.

    Raises:
        WeightsError: None is known; the message says what the file seems to be.
    """
    methods = [find_method(name) for name in method_names()]
    for method in methods:
        if method.importer is not None and method.importer.recognizes(content):
            return method
    known = ", ".join(method.title for method in methods if method.importer is not None)
    raise WeightsError(f"{path.name} holds no weights that can be imported ({known}), but {_description(content)}.")


def _description(content: object) -> str:
    if not isinstance(content, Mapping):
        return f"a {type(content).__name__}"
    keys = {str(key) for key in content}
    for marks, what in _OTHERS:
        if marks <= keys:
            return f"{what} ({', '.join(sorted(marks))})"
    return f"entries such as {', '.join(sorted(keys)[:3])}" if keys else "nothing"


def translated(content: Any, method: Method, path: Path) -> Translation:
    """The content of a method's checkpoint under our names: finite numbers, and the very ones that its model needs.

    Raises:
        WeightsError: They are others.
    """
    assert method.importer is not None
    found = method.importer.translate(content, path)
    with torch.device("meta"):
        expected = {name: tuple(value.shape) for name, value in method.model(**found.sizes).inference_state().items()}
    given = {name: tuple(value.shape) for name, value in found.state.items()}
    if wrong := sorted(name for name in {*expected, *given} if expected.get(name) != given.get(name)):
        name = wrong[0]
        raise WeightsError(
            f"{path.name} does not hold the weights of {method.title}: {name} has the shape "
            f"{given.get(name, 'of nothing')}, {expected.get(name, 'nothing of this name')} is expected."
        )
    if bad := [name for name, value in found.state.items() if not bool(value.isfinite().all())]:
        raise WeightsError(f"{path.name} is damaged: what becomes {bad[0]} holds numbers that are not finite.")
    return found


def write_imported(
    path: Path,
    out: Path,
    name: str = "",
    options: Mapping[str, Any] | None = None,
    *,
    spec: TowerSpec | None = None,
) -> WeightsCard:
    """The description of the weights file `out`, made from the authors' file `path`.

    Args:
        path: A checkpoint of a method with an importer.
        out: Where the weights file goes; the CLIP tower stays outside of it.
        name: Name of the weights; empty takes that of the published weights, or the file's own name.
        options: How the weights are used; what is left out is as the file says, else the method's default.
        spec: What the prompts ask of their tower, which files do not say; None takes that of the published weights.

    Raises:
        WeightsError: It is another file, or bears the name of published weights without being them. Nothing is
            written.
        ConfigError: The method has no such option.
    """
    content = read_checkpoint(path)
    method = recognized_method(content, path)
    found = translated(content, method, path)
    model = method.model(**found.sizes)
    spec = spec or method.spec
    if model.layer_count not in {None, len(spec.layers)}:
        raise WeightsError(f"{path.name} reads {model.layer_count} layers of the tower, the spec names {spec.layers}.")
    model.load_state_dict(found.state)
    used = checked_options(method.options, {**found.options, **(options or {})}, f"options of {method.title}")
    sha256 = file_sha256(path)
    release = _release(path, name, sha256)
    card = WeightsCard(
        name=name or (release.name if release else path.stem),
        method=method.name,
        spec=spec,
        options=used.model_dump(mode="json"),
        samples=method.samples,
        class_name="object" if model.uses_class_names else "",
        clip_name=method.clip_name,
        clip_sha256=next((one.sha256 for one in list_releases() if one.name == method.clip_name), ""),
        threshold=0.5,
        threshold_provenance=_THRESHOLD,
        license=release.license if release else "unknown",
        source=release.source if release else f"unknown: imported from {path.name}, no published file has its sha256",
        source_sha256=sha256,
        trained_on=release.trained_on if release else "unknown",
        description=release.description if release else f"{method.title} prompts of unknown origin.",
    )
    return save_weights(out, model, card)


def import_weights(
    path: Path, name: str = "", *, options: Mapping[str, Any] | None = None, folder: Path | None = None
) -> Path:
    """The installed file made from the authors' file `path`.

    Args:
        path: A checkpoint as the authors of a method publish and train them.
        name: Name of the weights; empty takes that of the published weights, or the file's own name.
        options: How the weights are used; None follows the file and the method's defaults.
        folder: Where to; None takes the cache folder.

    Raises:
        WeightsError: It is another file; nothing is installed.
    """
    folder = folder or cache_dir()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder) as partial:
        draft = Path(partial) / "weights.safetensors"
        card = write_imported(path, draft, name, options)
        target = folder / f"{Path(card.name).name}.safetensors"
        draft.replace(target)
    return target


def _release(path: Path, name: str, sha256: str) -> Release | None:
    releases = list_releases()
    for release in releases:
        if release.original and release.sha256 == sha256:
            return release
    for release in releases:
        if release.original and (release.original == path.name or release.name == name):
            raise WeightsError(
                f"{path.name} has sha256 {sha256}, the published weights {release.name} have {release.sha256}. Fetch "
                "them again, or rename the file and give another name to import it as weights of unknown origin."
            )
        if release.name == (name or path.stem):
            raise WeightsError(f"{release.name} is the name of other weights; give these another one with --name.")
    return None
