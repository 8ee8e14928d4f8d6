"""The exact one-dimensional k-means of joulectl beside scikit-learn's, on the real weights of a model.

    python palette.py FLOAT.onnx PALETTE.onnx    (the latter by joulectl model quantize --scheme palette --bits 4)
"""

from __future__ import annotations

import sys

import numpy as np
import onnx
from onnx import numpy_helper
from sklearn.cluster import KMeans


def main() -> None:
    weights = {t.name: numpy_helper.to_array(t).ravel() for t in onnx.load(sys.argv[1]).graph.initializer}
    palettes = {t.name: numpy_helper.to_array(t) for t in onnx.load(sys.argv[2]).graph.initializer if t.name.endswith("_palette")}
    worse = 0
    print("| tensor | values | exact | scikit-learn, best of 10 starts |\n|---|---|---|---|")
    for name, palette in palettes.items():
        values = weights[name.removesuffix("_palette")].astype(np.float64)
        bounds = (palette[1:] + palette[:-1]) / 2
        ours = float(((values - palette[np.searchsorted(bounds, values)]) ** 2).sum())
        theirs = KMeans(len(palette), n_init=10, random_state=1).fit(values.reshape(-1, 1))
        centres = np.sort(theirs.cluster_centers_.ravel())
        error = float(((values - centres[np.searchsorted((centres[1:] + centres[:-1]) / 2, values)]) ** 2).sum())
        # Centres are stored as float32, which moves the seventh digit.
        worse += ours > error * (1 + 1e-6)
        print(f"| {name.removesuffix('_palette')} | {values.size} | {ours:.6f} | {error:.6f} |", flush=True)
    print(f"worse in {worse} of {len(palettes)}")


if __name__ == "__main__":
    main()
