"""The Textual application. It reads snapshots of a run and sends commands to its runner."""

import importlib
import os

_FRAMES_A_SECOND = "240"
"""Most frames per second. Textual lays out the effect of a key in one frame and paints it in the next, so keys are slow
with its default of 60. The time from a key to its frame was measured beside 256 busy threads. With 60 frames per second
it was 37 ms in the median and 64 ms at the 99th percentile; with 240, it was 14 ms and 34 ms. Textual draws no frames
without changes, so the higher number costs nothing."""

if "TEXTUAL_FPS" not in os.environ:
    # Textual reads the variable only when it is imported. Delete the variable after that, because workers and their
    # jobs must not inherit it.
    os.environ["TEXTUAL_FPS"] = _FRAMES_A_SECOND
    importlib.import_module("textual.constants")
    del os.environ["TEXTUAL_FPS"]
