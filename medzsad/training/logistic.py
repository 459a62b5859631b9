"""Logistic regression by Newton's method: a few features, deterministic to the last digit that is kept."""

import numpy as np
from numpy.typing import NDArray

_STEPS, _SMALL_STEP = 100, 1e-9


def fit_logistic(
    features: NDArray[np.float64], target: NDArray[np.float64], weight: NDArray[np.float64], penalty: float
) -> tuple[NDArray[np.float64], float]:
    """Coefficients and intercept that minimize the weighted log loss plus penalty / 2 times the squared coefficients.

    The penalty keeps them finite where the classes can be separated; the intercept bears none.

    Args:
        features: (n, f), standardized.
        target: (n,) probability in [0, 1].
        weight: (n,) positive.
        penalty: Positive; the inverse of scikit-learn's C.
    """
    design = np.column_stack([features, np.ones(len(features))])
    penalties = np.append(np.full(features.shape[1], penalty), 1e-9)
    beta = np.zeros(design.shape[1])
    loss = _loss(design, target, weight, penalties, beta)
    for _ in range(_STEPS):
        probability = 1.0 / (1.0 + np.exp(-np.clip(design @ beta, -50.0, 50.0)))
        gradient = design.T @ (weight * (probability - target)) + penalties * beta
        curvature = design.T @ (design * (weight * probability * (1 - probability))[:, None]) + np.diag(penalties)
        step = np.linalg.solve(curvature, gradient)
        length = 1.0
        # Far from the minimum a whole step may overshoot.
        while (new := _loss(design, target, weight, penalties, beta - length * step)) > loss and length > 1e-6:
            length /= 2
        beta, loss = beta - length * step, new
        if float(np.abs(step).max()) * length < _SMALL_STEP:
            break
    return beta[:-1], float(beta[-1])


def fit_platt(evidence: NDArray[np.float64], true: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope (never negative) and intercept of the logistic curve from evidence to the probability of being true.

    Platt's targets, pulled in from 0 and 1 by one observation, keep the curve finite with few of either kind.
    """
    positives = int(true.sum())
    negatives = len(true) - positives
    target = np.where(true, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    slopes, intercept = fit_logistic(evidence[:, None], target, np.ones(len(target)), 1e-6)
    if slopes[0] >= 0.0:
        return float(slopes[0]), intercept
    mean = float(target.mean())
    return 0.0, float(np.log(mean / (1 - mean)))


def _loss(
    design: NDArray[np.float64],
    target: NDArray[np.float64],
    weight: NDArray[np.float64],
    penalties: NDArray[np.float64],
    beta: NDArray[np.float64],
) -> float:
    logit = design @ beta
    return float(weight @ (np.logaddexp(0.0, logit) - target * logit) + 0.5 * penalties @ beta**2)
