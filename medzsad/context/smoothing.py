"""Smoothing along the slicing axis: neighboring slices are made to agree, edges within a slice stay sharp."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from medzsad.slices.stack import SliceStack


def smooth_along_axis(stack: SliceStack, scores: NDArray[np.float32], sigma_mm: float) -> NDArray[np.float32]:
    """The scores (S, size, size) after a Gaussian of `sigma_mm` millimeters across the slices.

    Only slices with tissue take part, by their weight in a normalized convolution: neither the end of the stack nor an
    empty slice pulls the scores beside it down. Slices without tissue stay 0. Nothing is done where the distance
    between slices was not measured.
    """
    if sigma_mm <= 0 or not stack.has_physical_space:
        return scores
    sigma = sigma_mm / stack.plan.slice_mm
    weight = gaussian_filter1d(stack.tissue.astype(np.float64), sigma, mode="constant", truncate=3.0)
    smoothed = gaussian_filter1d(scores, sigma, axis=0, mode="constant", truncate=3.0)
    smoothed /= np.maximum(weight, np.finfo(np.float32).tiny).astype(np.float32)[:, None, None]
    smoothed[~stack.tissue] = 0.0
    return np.asarray(smoothed, np.float32)
