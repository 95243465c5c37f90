"""Secrets are in no table of the ledger, no log, no JSON event and no message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

TALKATIVE = """
    import logging
    import os
    import sys
    from tui_runner import Secret, current, job

    @job(chunk_size=2, threads=2, retries=0)
    def tell(url: str, *, token: Secret, base: str):
        assert token == "open-sesame"
        assert isinstance(token, str)
        print(f"printed {token}")
        logging.warning("logged %s", {"Authorization": f"Bearer {token}"})
        current.log(f"told {base}")
        os.write(2, f"raw {token}\\n".encode())
        if "fail" in url:
            raise ValueError(f"GET {url} with {token} at {base}, Cookie: sid=ali-baba")
        return {"n": 1}

    @tell.setup
    def begin(*, token: Secret):
        print(f"setup {token}")

    @tell.items
    def urls():
        return ["https://ann:ali-baba@h/ok", "https://h/fail?api_key=ali-baba"]
"""
SECRETS = ("sesame", "ali-baba")


def test_secrets_stay_where_they_belong(
    job_file: Callable[[str], str], cli: Any, rows: Callable[..., Any], tmp_path: Path
) -> None:
    given = ("--set", "token=open-sesame", "--set", "base=https://ann:ali-baba@h")
    done = cli("run", job_file(TALKATIVE), *given, "--json", "--db", "x.duckdb", cwd=tmp_path)
    assert done.code == 1, done.err
    assert not any(secret in done.out + done.err for secret in SECRETS)

    log = (tmp_path / "x.duckdb.log").read_text()
    for told in ("setup ***", "printed ***", "told https://***@h", "raw ***"):
        assert told in log
    ledger = {
        table: str(rows(f"SELECT CAST(COLUMNS(*) AS VARCHAR) FROM runner.{table}"))
        for table in ("runs", "chunks", "items", "errors")
    }
    assert "GET https://h/fail?api_key=*** with *** at https://***@h, Cookie: ***" in ledger["errors"]
    assert '"token": "***"' in ledger["runs"]
    shown = cli("errors", "x.duckdb", cwd=tmp_path)
    everything = [log, *ledger.values(), shown.out, (tmp_path / "x.duckdb").read_bytes().decode("latin-1")]
    assert not [secret for secret in SECRETS for text in everything if secret in text]


def test_a_setup_that_fails_with_a_secret_says_so_without_it(
    job_file: Callable[[str], str], cli: Any, tmp_path: Path
) -> None:
    source = TALKATIVE.replace('print(f"setup {token}")', 'raise ValueError(f"denied: {token}")')
    given = ("--set", "token=open-sesame", "--set", "base=x")
    done = cli("run", job_file(source), *given, "--backend", "inline", "--headless", cwd=tmp_path)
    assert done.code == 2
    assert "ValueError: denied: ***" in done.err
    assert "sesame" not in done.err
