"""The losses of the methods, in their clean form; index 0 is normal, index 1 abnormal (METHODS A.4, B.6)."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from medzsad.methods.maps import Upsampling, class_planes

_FOCAL_EPSILON = 1e-8
_DICE_EPSILON = 1e-5


def focal_loss(probabilities: Tensor, masks: Tensor, gamma: float = 2.0) -> Tensor:
    """Focal loss, the mean over abnormal pixels plus the mean over normal pixels of the whole batch.

    Args:
        probabilities: (b, 2, H, W), normal and abnormal, summing to 1.
        masks: (b, H, W), 1 in a defect.
        gamma: How strongly sure pixels are discounted.
    """
    abnormal = masks > 0.5
    own = torch.where(abnormal, probabilities[:, 1], probabilities[:, 0])
    losses = -((1 - own) ** gamma) * torch.log(own + _FOCAL_EPSILON)
    defect = abnormal.to(losses.dtype)
    sound = 1 - defect
    return (losses * defect).sum() / (defect.sum() + _FOCAL_EPSILON) + (losses * sound).sum() / (
        sound.sum() + _FOCAL_EPSILON
    )


def dice_loss(abnormal: Tensor, masks: Tensor) -> Tensor:
    """1 - Dice of the abnormal probability (b, H, W), sums over the whole batch."""
    overlap = (abnormal * masks).sum()
    return 1 - (2 * overlap + _DICE_EPSILON) / (abnormal.sum() + masks.sum() + _DICE_EPSILON)


def flow_kl(
    start: Tensor, mean: Tensor, log_variance: Tensor, end: Tensor, log_determinant: Tensor, *, images: int = 0
) -> Tensor:
    """KL divergence of a planar flow's end from the standard normal, averaged over its samples.

    Args:
        start: (..., D) samples z_0 of the Gaussian.
        mean: (..., D), with 1 where it is shared by samples.
        log_variance: As `mean`.
        end: (..., D) samples z_K after the flow.
        log_determinant: One number per sample, summed over the flow's steps.
        images: Size of the batch for the authors' weighting of distributions that do not depend on the image, whose
            log-determinant they count once per batch instead of once per image; 0 for the formula.
    """
    log_start = -0.5 * (log_variance + (start - mean) ** 2 / log_variance.exp()).sum(dim=-1)
    log_end = -0.5 * (end**2).sum(dim=-1)
    determinant = log_determinant.reshape(log_start.shape)
    if images:
        determinant = determinant / images
    return (log_start - log_end - determinant).mean()


def orthogonality_loss(normal: Tensor, abnormal: Tensor) -> Tensor:
    """How much the prompts of a bank resemble each other.

    Args:
        normal: (b, B, D) text features of the normal prompts.
        abnormal: (b, B, D) of the abnormal ones.

    Returns:
        Mean over the B x B entries (the diagonal counts as 0) and the batch of the squared cosine, both polarities
        summed.
    """
    return _mean_squared_cosine(normal) + _mean_squared_cosine(abnormal)


def _mean_squared_cosine(features: Tensor) -> Tensor:
    unit = normalize(features, dim=-1)
    cosine = unit @ unit.transpose(-1, -2)  # (b, B, B)
    others = 1 - torch.eye(cosine.shape[-1], dtype=cosine.dtype, device=cosine.device)
    return ((cosine * others) ** 2).mean()


def label_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of image logits (b, 2) against labels (b,)."""
    return cross_entropy(logits, labels)


def contrast_loss(images: Tensor, texts: Tensor, scale: Tensor) -> Tensor:
    """CLIP's symmetric contrast between image and caption features, (b, D) each, that need not be normalized."""
    logits = scale * normalize(images, dim=-1) @ normalize(texts, dim=-1).T
    own = torch.arange(len(logits), device=logits.device)
    return 0.5 * (cross_entropy(logits, own) + cross_entropy(logits.T, own))


def pixel_focal_loss(probabilities: Tensor, masks: Tensor) -> Tensor:
    """Focal loss of AnomalyCLIP, CoPS, Crane and FAPrompt: the mean over all pixels (METHODS D.0).

    Args:
        probabilities: (b, 2, H, W), normal and abnormal, summing to 1.
        masks: (b, H, W), 1 in a defect.
    """
    truth = torch.stack((1 - masks, masks), dim=1).clamp(1e-5, 1 - 1e-5)
    own = (truth * probabilities).sum(dim=1) + 1e-5
    return (-((1 - own) ** 2) * torch.log(own)).mean()


def pixel_dice_loss(probabilities: Tensor, masks: Tensor) -> Tensor:
    """Dice loss of the same methods: 1 - Dice of each image's (b, H, W), smoothed by 1, the mean over images."""
    overlap = (probabilities * masks).sum(dim=(1, 2))
    total = probabilities.sum(dim=(1, 2)) + masks.sum(dim=(1, 2))
    return 1 - ((2 * overlap + 1) / (total + 1)).mean()


def map_losses(
    logits: Tensor, grid: tuple[int, int], masks: Tensor, upsampling: Upsampling
) -> tuple[Tensor, Tensor, Tensor]:
    """Focal loss, Dice loss of the abnormal and Dice loss of the normal probabilities of patches (METHODS D.0).

    Args:
        logits: (b, N, 2) of the patches of images with a pixel label; zeros come back where there are none.
        grid: Rows and columns of the patches.
        masks: (b, H, W), 1 in a defect; probabilities are enlarged to this size.
        upsampling: How they are.
    """
    if not len(masks):
        nothing = 0.0 * logits.sum()
        return nothing, nothing, nothing
    planes = class_planes(logits.softmax(dim=-1), grid, (masks.shape[-2], masks.shape[-1]), upsampling)
    return (
        pixel_focal_loss(planes, masks),
        pixel_dice_loss(planes[:, 1], masks),
        pixel_dice_loss(planes[:, 0], 1 - masks),
    )
