"""CoPS as one record."""

from medzsad.clip.spec import TowerSpec
from medzsad.methods.base import Method
from medzsad.methods.cops.importer import CoPSImporter
from medzsad.methods.cops.model import CoPS, CoPSOptions, CoPSTrainOptions
from medzsad.methods.cops.objective import CoPSObjective

METHOD = Method(
    name="cops",
    title="CoPS",
    source="Conditional prompt synthesis, arXiv 2508.03447",
    model=CoPS,
    spec=TowerSpec(
        image_size=518,
        layers=(24,),
        activation="quick_gelu",
        position_resize="bilinear",
        attention="vv",
        patch_post="projected",
        cls_post_norm=False,
    ),
    clip_name="ViT-L-14-336",
    options=CoPSOptions,
    train_options=CoPSTrainOptions,
    objective=CoPSObjective,
    importer=CoPSImporter(),
    protocol="cops",
    samples=10,
    code_license="MIT",
    fidelity="exact",
    scope="Inference and training, with the authors' weights files.",
)
