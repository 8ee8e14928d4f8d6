#!/usr/bin/env python3
"""Records a program that draws on a terminal and makes a moving picture of it: an SVG of a few frames, for the README.

    make demo-picture
    docs/demo.py docs/demo.svg --at 4 17 24 31 38 44 57 -- joulectl demo ...

The program runs in a tmux server of its own, and what tmux shows at the seconds given (from the first line that the program prints), and at its
end, become the frames. They are pictures of text, so block characters are drawn as boxes and every run of text is given its width: it looks the
same with any font. Needs tmux and Python's standard library.
"""

from __future__ import annotations

import argparse
import html
import os
import re
import shlex
import subprocess
import sys
import time

# Of a terminal with a dark ground, on which pages of both kinds look well.
GROUND, FRAME, TEXT, DIM, STRONG = "#161b22", "#30363d", "#d0d7de", "#8b949e", "#ffffff"
COLOURS = {31: "#f85149", 32: "#3fb950", 33: "#d9a83a", 34: "#58a6ff", 35: "#bc8cff", 36: "#39c5cf"}
CELL_WIDTH, CELL_HEIGHT, FONT_SIZE, MARGIN, TITLE = 8.0, 17.0, 13, 14, 30
# Left edge, top edge, width and height of a block character, in eighths of a cell.
BLOCKS = {chr(0x2580 + n): (0, 8 - n, 8, n) for n in range(1, 9)} | {chr(0x2588 + n): (0, 0, 8 - n, 8) for n in range(1, 8)}

Run = tuple[int, str, str, bool]  # column, text, colour, bold


class Screen:
    """A tmux server of its own with one window."""

    def __init__(self, command: list[str], columns: int, rows: int) -> None:
        self.server = ["tmux", "-u", "-L", f"picture-{os.getpid()}", "-f", "/dev/null"]
        environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "TMUX")} | {"LC_ALL": "C.UTF-8", "TERM": "xterm-256color"}
        # The end is marked, and stays on the screen.
        shell = f"{shlex.join(command)}; tmux set-option -g @ended yes; sleep 600"
        subprocess.run([*self.server, "new-session", "-d", "-x", str(columns), "-y", str(rows), shell], check=True, env=environment)

    def ask(self, *arguments: str) -> str:
        return subprocess.run([*self.server, *arguments], capture_output=True, text=True, check=False).stdout

    def show(self) -> str:
        return self.ask("capture-pane", "-e", "-p").rstrip("\n")

    @property
    def has_ended(self) -> bool:
        return self.ask("show-options", "-gv", "@ended").strip() == "yes"

    def close(self) -> None:
        self.ask("kill-server")


def record(command: list[str], columns: int, rows: int, moments: list[float], limit: float) -> list[str]:
    """What the screen shows at each of the moments and at the end."""
    screen = Screen(command, columns, rows)
    try:
        deadline = time.monotonic() + limit
        while not screen.show().strip():
            if time.monotonic() > deadline:
                sys.exit("nothing was drawn")
            time.sleep(0.1)
        start, frames = time.monotonic(), []
        for moment in moments:
            time.sleep(max(0.0, start + moment - time.monotonic()))
            frames.append(screen.show())
        while not screen.has_ended:
            if time.monotonic() > deadline:
                sys.exit("the program does not end")
            time.sleep(0.1)
        return [*frames, screen.show()]
    finally:
        screen.close()


def runs(line: str) -> list[Run]:
    """The pieces of a line in one colour each."""
    result: list[Run] = []
    column, colour, bold, dim = 0, 0, False, False
    for piece in re.split(r"(\x1b\[[0-9;]*m)", line):
        if piece.startswith("\x1b["):
            for code in (int(c or 0) for c in piece[2:-1].split(";")):
                if code == 0:
                    colour, bold, dim = 0, False, False
                elif code in (1, 2):
                    bold, dim = (True, dim) if code == 1 else (bold, True)
                elif code == 22:
                    bold, dim = False, False
                elif 30 <= code <= 39:
                    colour = code
        elif piece:
            shade = COLOURS.get(colour, STRONG if bold else DIM if dim else TEXT)
            result.append((column, piece, shade, bold))
            column += len(piece)
    return result


def number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def draw(line: str, row: int) -> str:
    """One line of the screen: words as text of a given width, block characters as boxes."""
    top = TITLE + MARGIN + row * CELL_HEIGHT
    words, boxes = [], []
    for column, text, shade, bold in runs(line):
        # Words apart from wider gaps and from blocks, so that a width that is forced on them moves nothing.
        for match in re.finditer(r"[^\s\u2580-\u258f]+(?: [^\s\u2580-\u258f]+)*", text):
            x, word = MARGIN + (column + match.start()) * CELL_WIDTH, match.group()
            weight = ' font-weight="bold"' if bold else ""
            width = f' textLength="{number(len(word) * CELL_WIDTH)}"' if len(word) > 1 else ""
            words.append(f'<tspan x="{number(x)}" fill="{shade}"{weight}{width}>{html.escape(word, quote=False)}</tspan>')
        for match in re.finditer(r"(.)\1*", text):
            if (block := BLOCKS.get(match.group(1))) is None:
                continue
            left, up, wide, high = (eighths / 8 for eighths in block)
            x = MARGIN + (column + match.start() + left) * CELL_WIDTH
            size = (len(match.group()) - 1 + wide) * CELL_WIDTH
            boxes.append(
                f'<rect x="{number(x)}" y="{number(top + up * CELL_HEIGHT)}" width="{number(size)}" height="{number(high * CELL_HEIGHT)}" fill="{shade}"/>'
            )
    text = f'<text y="{number(top + CELL_HEIGHT * 0.76)}">{"".join(words)}</text>' if words else ""
    return text + "".join(boxes)


def picture(frames: list[str], columns: int, rows: int, title: str, seconds: float, last: float) -> str:
    width, height = columns * CELL_WIDTH + 2 * MARGIN, rows * CELL_HEIGHT + 2 * MARGIN + TITLE
    total = seconds * (len(frames) - 1) + last
    style = [
        f"g rect{{shape-rendering:crispEdges}}text{{font:{FONT_SIZE}px ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace;white-space:pre}}",
        f".f{{visibility:hidden;animation:{number(total)}s step-end infinite}}",
        # Where nothing moves, one frame stands still.
        ".s{visibility:visible}",
        "@media (prefers-reduced-motion:reduce){.f{animation:none!important}}",
    ]
    body = []
    for index, frame in enumerate(frames):
        begin, end = 100 * seconds * index / total, 100 * min(total, seconds * (index + 1)) / total
        end = 100 if index == len(frames) - 1 else end
        steps = "" if index == 0 else "0%{visibility:hidden}"
        steps += f"{number(begin)}%{{visibility:visible}}" + ("" if end == 100 else f"{number(end)}%{{visibility:hidden}}")
        style.append(f"@keyframes k{index}{{{steps}}}.f{index}{{animation-name:k{index}}}")
        still = " s" if index == len(frames) // 2 else ""
        lines = "\n".join(drawn for row, line in enumerate(frame.split("\n")[:rows]) if (drawn := draw(line, row)))
        body.append(f'<g class="f f{index}{still}">\n{lines}\n</g>')
    dots = "".join(f'<circle cx="{MARGIN + 6 + 18 * n}" cy="{TITLE / 2 + 2}" r="5" fill="{FRAME}"/>' for n in range(3))
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {number(width)} {number(height)}" role="img" aria-label="{html.escape(title)}">',
            f"<style>{''.join(style)}</style>",
            f'<rect x=".5" y=".5" width="{number(width - 1)}" height="{number(height - 1)}" rx="8" fill="{GROUND}" stroke="{FRAME}"/>',
            f'{dots}<text x="{number(width / 2)}" y="{TITLE / 2 + 7}" text-anchor="middle" fill="{DIM}">{html.escape(title, quote=False)}</text>',
            *body,
            "</svg>\n",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", help="the SVG file")
    parser.add_argument("--at", type=float, nargs="+", default=[], metavar="SECOND", help="when to look, besides the end")
    parser.add_argument("--columns", type=int, default=124)
    parser.add_argument("--rows", type=int, default=38)
    parser.add_argument("--title", default="make demo")
    parser.add_argument("--seconds", type=float, default=3, help="how long a frame stands")
    parser.add_argument("--last", type=float, default=8, help="how long the last one stands")
    parser.add_argument("--limit", type=float, default=300, help="seconds that the program may take")
    parser.add_argument("command", nargs="+", help="after --")
    arguments = parser.parse_args()
    frames = record(arguments.command, arguments.columns, arguments.rows, arguments.at, arguments.limit)
    text = picture(frames, arguments.columns, arguments.rows, arguments.title, arguments.seconds, arguments.last)
    with open(arguments.output, "w", encoding="utf-8") as file:
        file.write(text)
    print(f"{arguments.output}: {len(frames)} frames, {len(text.encode())} bytes")


if __name__ == "__main__":
    main()
