"""Jobs that several tests of real runs use."""

SQUARES = """
    from tui_runner import job

    @job(chunk_size=10, threads=4)
    def squares(n: int, *, plus: int = 0):
        return {"n": n, "square": n * n + plus}

    @squares.items
    def numbers(*, count: int = 95):
        return range(count)
"""

GATED = """
    import time
    from pathlib import Path
    from tui_runner import current, job

    @job(chunk_size=5, threads=2)
    def gated(n: int, *, gate: str):
        # Items run until the test opens the gate.
        while not Path(gate).exists() and not current.cancelled:
            time.sleep(0.005)
        return n

    @gated.items
    def numbers(*, count: int = 40):
        return range(count)
"""
