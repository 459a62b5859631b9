"""EfficientNet-Lite2 (arXiv 1905.11946) as the convolutional stem of a small tower, its normalizations folded away."""

from typing import Any

import timm
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from medzsad.slices.transforms import CLIP_MEAN, CLIP_STD

# timm's name of the network, and channels of its features at a quarter, an eighth and a sixteenth of the picture.
NETWORK = "tf_efficientnet_lite2"
WIDTHS = (144, 288, 720)
# Stages whose first block halves the grid; their widened inputs are the features.
_TAPPED = (2, 3, 5)
_PAIRS = (("conv_stem", "bn1"), ("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3"))
_SEPARABLE_PAIRS = (("conv_dw", "bn1"), ("conv_pw", "bn2"))


class LiteStem(nn.Module):
    """The network up to the widened input of its sixth stage.

    A block widens its input before it filters and narrows it; the narrow outputs are linear and hold little, so the
    wide features inside the first block of each coarser stage are read.

    Args:
        network: timm's model; its batch normalizations are folded into the convolutions before them.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        network.eval()
        self.conv_stem, self.bn1 = network.conv_stem, network.bn1
        self.stages = nn.ModuleList(network.blocks[:5])
        last = network.blocks[5][0]
        self.last = nn.ModuleDict({"conv_pw": last.conv_pw, "bn1": last.bn1})
        _fold(self, _PAIRS[:1])
        for stage in network.blocks[:5]:
            for block in stage:
                _fold(block, _PAIRS[1:] if hasattr(block, "conv_pwl") else _SEPARABLE_PAIRS)
        _fold(self.last, _PAIRS[1:2])

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features (b, 144, h/4, w/4), (b, 288, h/8, w/8), (b, 720, h/16, w/16) of CLIP-normalized images."""
        # The network expects [-1, 1]. No buffers: towers are built without storage, and what is not stored stays so.
        std, mean = (images.new_tensor(values)[:, None, None] for values in (CLIP_STD, CLIP_MEAN))
        x = self.bn1(self.conv_stem(images * (2 * std) + (2 * mean - 1)))
        found = []
        for number, stage in enumerate(self.stages):
            if number not in _TAPPED:
                x = stage(x)
                continue
            blocks: Any = stage
            wide = blocks[0].bn1(blocks[0].conv_pw(x))
            found.append(wide)
            x = blocks[1:](_narrowed(blocks[0], wide))
        quarters, eighths = found
        return quarters, eighths, self.last["bn1"](self.last["conv_pw"](x))


def _narrowed(block: Any, wide: Tensor) -> Tensor:
    """What is left of a block that halves its grid, after the widening; such blocks have no shortcut."""
    x = block.bn2(block.conv_dw(wide))
    narrow: Tensor = block.bn3(block.conv_pwl(block.se(block.aa(x))))
    return narrow


def _fold(block: nn.Module, pairs: tuple[tuple[str, str], ...]) -> None:
    """Replaces each normalization of a block by the activation after it, and moves its numbers into the convolution."""
    for convolution, normalization in pairs:
        norm: Any = getattr(block, normalization)
        setattr(block, convolution, fuse_conv_bn_eval(getattr(block, convolution), norm))
        setattr(block, normalization, norm.act)


def fresh_stem() -> LiteStem:
    """A stem with random weights."""
    return LiteStem(timm.create_model(NETWORK, pretrained=False))
