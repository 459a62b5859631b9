"""The PILOT-style reconstruction in a made-up space: pool, fusion, projection and adaptation, each against its absence.

Prompts are text features here, learned without a text tower. What chooses among them, ties them to phrases and adapts
them is the code of `medzsad`.
"""

import copy
from dataclasses import dataclass

import torch
from reconstruction_claims import Claim, Figures
from reconstruction_world import HARD, MILD, OBJECTS, SOURCE, WIDTH, Views, World
from sklearn.metrics import normalized_mutual_info_score, roc_auc_score
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from medzsad.clip.vision import ImageFeatures
from medzsad.methods.losses import map_losses
from medzsad.methods.pilot_style.adaptation import Adaptation, AdaptationOptions
from medzsad.methods.pilot_style.fusion import anchors, balance, fused, pool_weights
from medzsad.methods.prompts import cosine_logits, image_logits

_BATCH = 16
_RATE = 1e-2
_BALANCE = 0.1
# One hundredth of the size of what adapts, as the default is of prompt tokens.
_ADAPT_RATE = 2e-3
_DOMAINS = {"source": SOURCE, "mild": MILD, "hard": HARD}


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is done.

    Attributes:
        steps: Of training.
        train: Images that are trained on.
        test: Images that are scored.
    """

    steps: int = 300
    train: int = 256
    test: int = 160


@dataclass(frozen=True, slots=True)
class Design:
    """Which parts of the reconstruction are in use.

    Attributes:
        prompts: In the pool.
        phrases: Whether prompts are tied to phrases.
        project: Whether only what the phrases do not say counts.
        residual: Whether prompts are chosen without the normal phrases and used in a balanced way.
    """

    prompts: int = OBJECTS
    phrases: bool = True
    project: bool = True
    residual: bool = True


@dataclass(frozen=True, slots=True)
class Texts:
    """What images are compared with: (b, 2, D) unit features with prompts and of phrases alone, (b, K) weights."""

    fused: Tensor
    anchor: Tensor
    weights: Tensor


class Prompts(nn.Module):
    """Pairs of text features, chosen by image.

    Args:
        design: Which parts are in use.
        bank: (m, D) features of phrases for sound things and for abnormal ones.
        source: Of the random numbers of the start.
    """

    def __init__(self, design: Design, bank: tuple[Tensor, Tensor], source: torch.Generator) -> None:
        super().__init__()
        self._design, self._bank = design, bank
        self.pairs = nn.Parameter(torch.randn(design.prompts, 2, WIDTH, generator=source) / WIDTH**0.5)
        self.keys = nn.Parameter(torch.randn(design.prompts, WIDTH, generator=source) / WIDTH**0.5)

    def texts(self, cls: Tensor) -> Texts:
        """What images (b, D) are compared with."""
        design = self._design
        anchor = torch.stack([anchors(cls, bank) for bank in self._bank], dim=1)
        weights = pool_weights(cls, self.keys, anchor[:, 0] if design.residual and design.phrases else None)
        learned = torch.einsum("bk,kpd->bpd", weights, normalize(self.pairs, dim=-1))
        if not design.phrases:
            return Texts(normalize(learned, dim=-1), anchor, weights)
        return Texts(fused(learned, anchor, project=design.project), anchor, weights)

    def loss(self, views: Views) -> Tensor:
        """AnomalyCLIP's losses of a batch, and the balance of the pool."""
        texts = self.texts(views.cls)
        size = (1, views.masks.shape[1])
        parts = map_losses(cosine_logits(views.patches, texts.fused), size, views.masks[:, None], "nearest")
        labels = views.masks.amax(dim=1).long()
        loss = 4 * torch.stack(parts).sum() + cross_entropy(image_logits(views.cls, texts.fused), labels)
        return loss + _BALANCE * balance(texts.weights) if self._design.residual else loss


def learned(design: Design, bank: tuple[Tensor, Tensor], views: Views, steps: int, seed: int) -> Prompts:
    """Prompts after training; with one seed all designs see the same batches."""
    prompts = Prompts(design, bank, torch.Generator().manual_seed(seed))
    optimizer = torch.optim.Adam(prompts.parameters(), lr=_RATE)
    source = torch.Generator().manual_seed(seed + 1)
    for _ in range(steps):
        rows = torch.randperm(len(views.cls), generator=source)[:_BATCH]
        optimizer.zero_grad()
        prompts.loss(views.part(rows)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return prompts


@torch.no_grad()
def auroc(views: Views, text: Tensor) -> float:
    """AUROC of all patches together, for text (b, 2, D) of each image."""
    scores = cosine_logits(views.patches, text).softmax(dim=-1)[..., 1]
    return float(roc_auc_score(views.masks.flatten().numpy(), scores.flatten().numpy()))


def adapted_auroc(prompts: Prompts, views: Views, options: AdaptationOptions) -> float:
    """AUROC where each image is scored by the prompts as all images before it have left them."""
    prompts = copy.deepcopy(prompts)
    adaptation = Adaptation(list(prompts.parameters()), options)
    scores = []
    for number in range(len(views.cls)):
        cls, patches = views.cls[number : number + 1], views.patches[number : number + 1]
        image = ImageFeatures(cls, (patches,), (1, patches.shape[1]))
        with torch.no_grad():
            logits = cosine_logits(patches, prompts.texts(cls).fused)
        scores.append(logits.softmax(dim=-1)[..., 1])
        adaptation.step(image, lambda one: prompts.texts(one.cls))
    return float(roc_auc_score(views.masks.flatten().numpy(), torch.cat(scores).flatten().numpy()))


def pool_figures(seed: int, effort: Effort) -> Figures:
    """AUROC with a pool and with one prompt, in both kinds of world, and how far the pool follows objects."""
    found: Figures = {}
    for kind, by_object in (("by object", True), ("common", False)):
        world = World(seed, by_object)
        bank, train, test = world.bank(), world.views(effort.train), world.views(effort.test)
        designs = {"pool": Design(), "one prompt": Design(prompts=1)}
        if by_object:
            designs["raw query"] = Design(residual=False)
        for name, design in designs.items():
            prompts = learned(design, bank, train, effort.steps, seed)
            found[f"{kind}: {name}"] = auroc(test, prompts.texts(test.cls).fused)
            if name == "pool" and by_object:
                chosen = prompts.texts(test.cls).weights.argmax(dim=1)
                found["agreement"] = float(normalized_mutual_info_score(test.objects.numpy(), chosen.numpy()))
    return found


def fusion_figures(seed: int, effort: Effort) -> Figures:
    """AUROC of all ways to use prompts and phrases, at the source and under two shifts."""
    world = World(seed, by_object=False)
    bank, train = world.bank(), world.views(effort.train)
    designs = {"fused": Design(), "learned": Design(phrases=False), "unprojected": Design(project=False)}
    models = {name: learned(design, bank, train, effort.steps, seed) for name, design in designs.items()}
    found: Figures = {}
    for shift, domain in _DOMAINS.items():
        test = world.views(effort.test, domain)
        for name, prompts in models.items():
            found[f"{shift}: {name}"] = auroc(test, prompts.texts(test.cls).fused)
        found[f"{shift}: phrases"] = auroc(test, models["fused"].texts(test.cls).anchor)
        if domain != SOURCE:
            found |= {f"{shift}: {name}": value for name, value in _adapted(models["fused"], test).items()}
    return found


def _adapted(prompts: Prompts, test: Views) -> Figures:
    """AUROC of the ways to adapt."""
    plain = {"adapt": True, "adapt_rate": _ADAPT_RATE}
    ways = {"adapted": {}, "no gate": {"gated": False}, "fused labels": {"both_branches": False}}
    return {
        name: adapted_auroc(prompts, test, AdaptationOptions.model_validate(plain | way)) for name, way in ways.items()
    }


def measure(seed: int, effort: Effort) -> Figures:
    """All figures of one seed."""
    return pool_figures(seed, effort) | fusion_figures(seed, effort)


def _against(text: str, first: tuple[str, str], second: tuple[str, str], shifts: tuple[str, ...]) -> list[Claim]:
    """A claim per domain that one figure is higher than another."""
    words = {"source": "at the source", "mild": "under mild shift", "hard": "under hard shift"}
    return [
        Claim(f"{text} {words[shift]}", {f"{shift}: {name}": said for name, said in (first, second)})
        for shift in shifts
    ]


def claims() -> list[Claim]:
    """What is claimed of this reconstruction."""
    fusion, adapted, phrases = ("fused", "fused"), ("adapted", "adapted"), ("phrases", "phrases alone")
    pool = {"pool": "pool", "one prompt": "one prompt"}
    everywhere, shifted = ("source", "mild", "hard"), ("mild", "hard")
    return [
        Claim(
            "A pool of 4 prompts beats 1 where a defect depends on the object",
            {f"by object: {name}": words for name, words in pool.items()},
        ),
        Claim(
            "A pool of 4 prompts beats 1 where all defects have a common direction",
            {f"common: {name}": words for name, words in pool.items()},
        ),
        Claim("Prompts specialize in objects: NMI above 0.5", {"agreement": "NMI"}, "half"),
        Claim(
            "Residual query and balance beat the raw query",
            {"by object: pool": "residual", "by object: raw query": "raw"},
        ),
        *_against("Fusion beats learned prompts alone", fusion, ("learned", "learned alone"), everywhere),
        *_against("Fusion beats phrases alone", fusion, phrases, everywhere),
        *_against("Projection beats none", fusion, ("unprojected", "without"), everywhere),
        *_against("Adaptation helps", adapted, fusion, shifted),
        *_against("Adapted prompts beat phrases alone", adapted, phrases, shifted),
        *_against("A confidence gate beats none", ("adapted", "gate"), ("no gate", "none"), shifted),
        *_against("Asking both branches beats fused", ("adapted", "both"), ("fused labels", "fused"), shifted),
    ]
