"""How far a variant's answers are from those of float32, in the words of the manifest's thresholds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
#: What lies beyond differs between CPUs and says nothing.
DECIMALS = 4


@dataclass(frozen=True)
class Validation:
    """Measured on held-out data; compared with the thresholds that were declared before."""

    agreement: float
    p99_error: float
    mean_error: float
    auc_loss: float | None = None


def decisions(values: Values) -> npt.NDArray[np.int64]:
    """One probability decides at 0.5; several decide for the largest."""
    if values.shape[1] == 1:
        return (values[:, 0] >= 0.5).astype(np.int64)
    return np.asarray(values.argmax(axis=1), np.int64)


def agreement(values: Values, baseline: Values) -> float:
    """The share of windows whose decision is the baseline's."""
    return round(float((decisions(values) == decisions(baseline)).mean()), DECIMALS)


def p99_error(values: Values, baseline: Values) -> float:
    """The 99th percentile over windows of the largest absolute difference within a window."""
    return round(float(np.percentile(np.abs(values - baseline).max(axis=1), 99)), DECIMALS)


def mean_error(values: Values, baseline: Values) -> float:
    """The mean over windows of the largest absolute difference within a window."""
    return round(float(np.abs(values - baseline).max(axis=1).mean()), DECIMALS)


def auc(scores: npt.NDArray[np.float64], labels: npt.NDArray[np.bool_]) -> float:
    """Area under the ROC curve: the chance that a positive outranks a negative, ties counting half."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positives = int(labels.sum())
    negatives = labels.size - positives
    return float((ranks[labels].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def speech_labels(turns: list[tuple[float, float]], windows: int, seconds: float) -> npt.NDArray[np.int8]:
    """1 speech, 0 none, -1 a window that a turn's edge cuts (10 to 90 % covered): not judged."""
    # Turns overlap one another; a fine grid merges them without interval arithmetic.
    step = 64
    grid = np.zeros((windows, step), bool)
    times = (np.arange(windows * step) + 0.5) * (seconds / step)
    flat = grid.reshape(-1)
    for begin, end in turns:
        flat |= (times >= begin) & (times < end)
    covered = grid.mean(axis=1)
    return np.where(covered >= 0.9, 1, np.where(covered <= 0.1, 0, -1)).astype(np.int8)
