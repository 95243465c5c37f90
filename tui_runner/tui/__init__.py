"""The Textual application. It reads snapshots of a run and sends commands to its runner."""

import importlib
import os

_FRAMES_A_SECOND = "240"
"""Frames a second at most. With Textual's default of 60, keys are slow: their effect is laid out in one frame and
painted in the next. Measured beside 256 busy threads, from a key to its frame: with 60, 37 ms in the median and 64 ms
at the 99th percentile; with 240, 14 and 34 ms. Without changes there are no frames, so a high number costs nothing."""

if "TEXTUAL_FPS" not in os.environ:
    # Textual reads the variable once, when it is imported. Workers and their jobs must not inherit it.
    os.environ["TEXTUAL_FPS"] = _FRAMES_A_SECOND
    importlib.import_module("textual.constants")
    del os.environ["TEXTUAL_FPS"]
