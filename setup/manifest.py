"""Writes `model.toml`, the manifest of a bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from metrics import Validation


@dataclass(frozen=True)
class Thresholds:
    """Declared before validation. A variant that breaks one does not exist for the planner."""

    agreement_min: float
    p99_error_max: float
    auc_loss_max: float | None = None

    def broken_by(self, validation: Validation) -> list[str]:
        """One sentence for each threshold that `validation` breaks."""
        broken = []
        if validation.agreement < self.agreement_min:
            broken.append(f"agreement {validation.agreement:.4f} is below {self.agreement_min}")
        if validation.p99_error > self.p99_error_max:
            broken.append(f"p99 error {validation.p99_error:.4f} is above {self.p99_error_max}")
        if self.auc_loss_max is not None and (validation.auc_loss or 0.0) > self.auc_loss_max:
            broken.append(f"AUC loss {validation.auc_loss:.4f} is above {self.auc_loss_max}")
        return broken


@dataclass(frozen=True)
class Variant:
    """One artefact of a model, as validated."""

    name: str
    scheme: str
    file: str
    bytes: int
    sha256: str
    validation: Validation

    @property
    def quality(self) -> float:
        """Agreement with the float32 baseline on held-out data, less what the outputs drift; 1 for the baseline itself.

        Agreement alone would call two variants equal that decide alike on easy data, however far their outputs are apart.
        """
        return round(self.validation.agreement * (1 - self.validation.mean_error), 4)


@dataclass(frozen=True)
class Manifest:
    """Everything the daemon has to know about a model. `contract` holds tables that are written as they are."""

    head: Mapping[str, Any]
    contract: Mapping[str, Mapping[str, Any] | Sequence[Mapping[str, Any]]]
    thresholds: Thresholds
    cadence: Mapping[int, float]
    validation_data: str
    variants: Sequence[Variant]

    def toml(self) -> str:
        lines = [
            "# Written by setup/make_bundles.py. Digests, quality and validation come from one build: do not edit.",
            *_pairs(self.head),
        ]
        for name, table in self.contract.items():
            for entry in table if isinstance(table, Sequence) else [table]:
                lines += ["", f"[[{name}]]" if isinstance(table, Sequence) else f"[{name}]", *_pairs(entry)]
        lines += [
            "", "# Declared before validation; a variant that breaks one is not in this file.", "[thresholds]",
            *_pairs({f.name: getattr(self.thresholds, f.name) for f in fields(self.thresholds)}),
            "",
            "# Quality of running every n-th window and holding its result: agreement with every window run in",
            "# float32, on the validation data.",
        ]
        for multiple, quality in self.cadence.items():
            lines += ["[[cadence]]", *_pairs({"multiple": multiple, "quality": quality}), ""]
        lines += ["# quality: agreement with fp32 x (1 - mean error) on the validation data, which no calibration has seen."]
        for variant in self.variants:
            lines += ["[[variant]]", *_pairs({
                key: getattr(variant, key) for key in ("name", "scheme", "file", "bytes", "sha256", "quality")})]
            lines += ["[variant.validation]", *_pairs({
                "data": self.validation_data,
                **{f.name: getattr(variant.validation, f.name) for f in fields(variant.validation)}}), ""]
        return "\n".join(lines).rstrip() + "\n"


def _pairs(table: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {_value(value)}" for key, value in table.items() if value is not None]


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, int | float):
        return repr(value)
    return "[" + ", ".join(_value(item) for item in value) + "]"
