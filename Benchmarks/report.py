"""Figures beside their goals: on the terminal, as Markdown, and as a plot."""
from __future__ import annotations

import html
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

BEGIN, END = "<!-- figures: made by make bench-docs -->", "<!-- end of figures -->"


@dataclass
class Row:
    """CPU time around one case."""

    streams: int
    what: str
    cpu_us: float  # per second of audio and stream
    wakes: float | None = None  # per second, of all streams together
    late_p99_ms: float | None = None
    waited: float | None = None  # share of the time in which other programs had its CPU: what lateness is worth

    def cells(self) -> list[str]:
        def text(value: float | None, unit: str = "") -> str:
            return "" if value is None else f"{value:.1f}{unit}"
        return [str(self.streams), self.what, f"{self.cpu_us:.0f} us", text(self.wakes), text(self.late_p99_ms, " ms"),
                "" if self.waited is None else f"{self.waited:.1%}"]


@dataclass
class Check:
    """A figure with its goal: at most, or at least, `goal`."""

    what: str
    value: float
    goal: float
    unit: str = ""
    at_least: bool = False

    @property
    def holds(self) -> bool:
        # NaN, which was not measured, holds nothing.
        return self.value >= self.goal if self.at_least else self.value <= self.goal

    def cells(self) -> list[str]:
        unit = f" {self.unit}" if self.unit else ""
        digits = 3 if self.at_least else 2
        return [self.what, f"{self.value:.{digits}f}{unit}", f"{'at least' if self.at_least else 'at most'} {self.goal:g}{unit}", "" if self.holds else "SHORT"]


class Report:
    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.checks: list[Check] = []

    def row(self, row: Row) -> None:
        self.rows.append(row)
        streams, what, cpu, wakes, late, waited = row.cells()
        print(f"{streams:>3} streams  {what:<30} {cpu:>9} a second of audio {wakes and wakes + ' wake-ups/s':>17} {late and 'late p99 ' + late:>18} {waited and waited + ' robbed':>13}", flush=True)

    def check(self, check: Check) -> None:
        self.checks.append(check)
        what, value, goal, short = check.cells()
        print(f"    {what:<68} {value:>11}   {goal:<14} {short}", flush=True)

    def verdict(self) -> int:
        """Names what falls short; the exit status."""
        short = [check for check in self.checks if not check.holds]
        for check in short:
            what, value, goal, _ = check.cells()
            print(f"short of its goal: {what}: {value}, {goal}")
        if not short:
            print(f"all {len(self.checks)} goals are met")
        return int(bool(short))

    def write(self, folder: Path) -> None:
        """Puts the figures into performance.md, between its marks, and the plot beside it."""
        page = folder / "performance.md"
        text = page.read_text()
        before, rest = text.split(BEGIN)
        after = rest.split(END)[1]
        page.write_text(before + BEGIN + "\n" + self.markdown() + END + after)
        (folder / "performance.svg").write_text(self.plot())

    def markdown(self) -> str:
        lines = [f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} CPUs ({platform.machine()}, {cpu_name()}), load {os.getloadavg()[1]:.1f} at the end.", ""]
        lines += table(["figure", "measured", "goal", ""], [check.cells() for check in self.checks])
        lines += ["", "CPU time for one second of audio of one stream; wake-ups of all streams together:", ""]
        lines += table(["streams", "what", "CPU", "wake-ups/s", "late, p99", "CPU held by others"], [row.cells() for row in self.rows])
        return "\n".join(lines) + "\n"

    def plot(self) -> str:
        """CPU time of each row as a bar."""
        width, left, step = 860, 270, 18
        most = max(row.cpu_us for row in self.rows)
        parts, y, streams = [], 34, 0
        for row in self.rows:
            if row.streams != streams:
                streams = row.streams
                y += 14
                parts.append(f'<text x="8" y="{y + 12}" font-weight="bold">{streams} stream{"s" if streams > 1 else ""}</text>')
                y += step
            length = (width - left - 90) * row.cpu_us / most
            color = "#2a78b8" if row.what.startswith("jouled") else "#b8742a" if row.what.startswith("sherpa") else "#8a8a8a"
            parts.append(
                f'<text x="{left - 8}" y="{y + 12}" text-anchor="end">{html.escape(row.what)}</text>'
                f'<rect x="{left}" y="{y + 2}" width="{length:.1f}" height="{step - 5}" fill="{color}"/>'
                f'<text x="{left + length + 6:.1f}" y="{y + 12}">{row.cpu_us:.0f}</text>')
            y += step
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y + 12}" font-family="sans-serif" font-size="12">\n'
            f'<rect width="{width}" height="{y + 12}" fill="white"/>\n'
            '<text x="8" y="22" font-size="14">CPU time for one second of audio of one stream, in microseconds</text>\n' + "\n".join(parts) + "\n</svg>\n")


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]]


def cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return "unknown CPU"
