"""Bayes-PFL as one record."""

from medzsad.clip.spec import TowerSpec
from medzsad.methods.base import Method
from medzsad.methods.bayes_pfl.importer import BayesPFLImporter
from medzsad.methods.bayes_pfl.model import BayesPFL, BayesPFLOptions, BayesPFLTrainOptions
from medzsad.methods.bayes_pfl.objective import BayesPFLObjective

METHOD = Method(
    name="bayes_pfl",
    title="Bayes-PFL",
    source="Bayesian prompt flow learning, arXiv 2503.10080",
    model=BayesPFL,
    spec=TowerSpec(image_size=518, layers=(6, 12, 18, 24)),
    clip_name="ViT-L-14-336",
    options=BayesPFLOptions,
    train_options=BayesPFLTrainOptions,
    objective=BayesPFLObjective,
    importer=BayesPFLImporter(),
    protocol="bayes-pfl",
    samples=10,
    code_license="MIT according to its README, without a license file",
    fidelity="exact",
    scope="Inference and training, with the authors' weights files.",
)
