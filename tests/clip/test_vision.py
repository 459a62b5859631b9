import dataclasses

import pytest
import torch

from medzsad.clip.spec import TowerSpec
from medzsad.clip.vision import image_features
from medzsad.errors import ConfigError
from tests import tiny


def test_patches_are_the_raw_output_of_the_chosen_blocks() -> None:
    clip, seen = tiny.tower(), {}
    for number, block in enumerate(clip.visual.transformer.resblocks, start=1):
        block.register_forward_hook(lambda _m, _i, out, number=number: seen.__setitem__(number, out))
    features = image_features(clip, tiny.SPEC, tiny.images(2))
    assert features.grid == (4, 4)
    assert len(features.patches) == 2
    for layer, tokens in zip(tiny.SPEC.layers, features.patches, strict=True):
        assert tokens.shape == (2, 16, tiny.VISION_WIDTH)
        torch.testing.assert_close(tokens, seen[layer][:, 1:])


def test_class_token_is_that_of_open_clip_even_if_the_last_block_is_not_read() -> None:
    clip, images = tiny.tower(), tiny.images(2)
    spec = dataclasses.replace(tiny.SPEC, layers=(1, 2))
    torch.testing.assert_close(image_features(clip, spec, images).cls, clip.encode_image(images))


def test_class_token_without_last_norm_is_its_projection_only() -> None:
    clip, images = tiny.tower(), tiny.images(1)
    spec = dataclasses.replace(tiny.SPEC, cls_post_norm=False)
    outputs = []
    clip.visual.transformer.resblocks[-1].register_forward_hook(lambda _m, _i, out: outputs.append(out))
    found = image_features(clip, spec, images).cls
    torch.testing.assert_close(found, outputs[0][:, 0] @ clip.visual.proj)


@pytest.mark.parametrize(
    "wrong",
    [{"layers": ()}, {"layers": (3, 1)}, {"layers": (0, 1)}, {"activation": "relu"}, {"position_resize": "nearest"}],
    ids=str,
)
def test_impossible_specs_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="Tower"):
        TowerSpec(**({"image_size": 28, "layers": (1,)} | wrong))
