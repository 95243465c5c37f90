"""Records docs/cast.svg: frames of a real run of the quick start on its dashboard, as one animated SVG.

    python docs/make_cast.py [ROOT]

ROOT is the folder whose Python files are parsed, by default the standard library. The run is real, and so are its
figures; only the terminal is simulated, by Textual's test driver.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from tui_runner.cli import run as runs
from tui_runner.cli.main import main
from tui_runner.tui.app import RunnerApp

SIZE = (100, 30)
STEPS = (
    *[("", 0.8)] * 5,
    ("m", 0.8),
    ("m", 0.8),
    ("enter", 0.8),
    ("escape", 0.8),
    ("d", 1.5),
    ("escape", 0.8),
    ("escape", 6.0),
)
"""A key to press, empty for none, and the seconds until the next frame."""
FRAME_SECONDS = 1.2
"""Seconds that each frame is shown: a reader needs longer than the run."""
STYLE = """.frame {{ visibility: hidden; animation: {total}s steps(1) infinite }}
@keyframes show {{ 0% {{ visibility: visible }} {share}% {{ visibility: hidden }} }}"""


async def record(app: RunnerApp, frames: list[str]) -> None:
    """Run the application, press the keys of `STEPS`, and append a picture after each."""
    async with app.run_test(size=SIZE) as pilot:
        for key, seconds in STEPS:
            if key:
                await pilot.press(key)
            await asyncio.sleep(seconds)
            await pilot.pause()
            frames.append(app.export_screenshot(title="tui-runner run parse_python"))
        app.exit()


def animated(frames: list[str]) -> str:
    """Return one SVG that shows the frames in turn."""
    total = round(FRAME_SECONDS * len(frames), 1)
    (view,) = re.findall(r'viewBox="([^"]+)"', frames[0])
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{view}">']
    parts.append(f"<style>{STYLE.format(total=total, share=round(100 / len(frames), 3))}</style>")
    for number, frame in enumerate(frames):
        # Classes and ids are those of one picture; each frame gets its own.
        name = re.findall(r"terminal-\d+", frame)[0]
        body = frame.replace(name, f"frame-{number}")
        delay = round(number * FRAME_SECONDS, 1)
        parts.append(f'<g class="frame" style="animation-name: show; animation-delay: {delay}s">{body}</g>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def write_cast(path: Path) -> None:
    """Run the job and write its cast."""
    frames: list[str] = []

    def run(app: RunnerApp, *_: Any, **__: Any) -> None:
        asyncio.run(record(app, frames))

    RunnerApp.run = run  # type: ignore[method-assign,assignment]
    runs._is_headless = lambda *_: False
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            main(["run", "parse_python", *(f"--set=root={root}" for root in sys.argv[1:])])
        except SystemExit as end:
            print(f"the run ended with {end.code}")
    path.write_text(animated(frames))


if __name__ == "__main__":
    write_cast(Path(__file__).resolve().with_name("cast.svg"))
