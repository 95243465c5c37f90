"""Settings of a run (chunk size, threads, retries and others), and where their values come from.

Sources in the order of increasing priority: the defaults here, `@job(...)`, `[tool.tui-runner]` of the nearest
`pyproject.toml` or the user's config file, environment variables `TUI_RUNNER_*`, the command line.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from tui_runner.errors import UserError
from tui_runner.jobs.hosts import HostLimits
from tui_runner.text.items import MAX_INPUT_BYTES
from tui_runner.text.messages import did_you_mean, nearest, plain, quoted, shortened


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a run.

    Attributes:
        table: results table; None for the name of the function.
        chunk_size: items per chunk; None for automatic: 500 at first, then as many as the run executes in 2 to 10
            seconds, 20,000 at most.
        open_chunks: chunks that workers have at once; None for automatic: enough to queue a second of work and to have
            about four chunks begun.
        threads: items executed at once in all workers together; tasks for an `async def` job.
        workers: worker processes. On a cluster, 0 means one per Dask worker.
        backend: `process` for processes on this machine; `inline` for threads in the tui-runner process; `dask:ADDRESS`
            for the machines of a cluster.
        ship: folder with further code to send to the machines of a cluster; None to send only the job's own code.
        insecure: True if secrets may be sent to a cluster unencrypted.
        retries: attempts of an item after the first one failed.
        retry_budget: retries in any ten seconds, as a share of the items that failed in that time, such as `"20%"`. One
            retry for every item that succeeded, and one per second and thread, are allowed in addition. None for no
            limit.
        timeout: seconds that an attempt may take; None for no limit.
        rate: items started per second in all workers together; None for no limit.
        per_host: open requests to one host at most, counted over all workers; None for no limit.
        delay: seconds between two requests to a host at least, counted over all workers.
        adaptive: True if the delay follows the latency of each host, as in Scrapy's AutoThrottle.
        max_memory: bytes that the run may use, with its workers and their children, or a share of the memory of the
            machine or container, such as `"80%"`; None for no limit.
        max_failures: failed items after which the run stops normally, or a share of the finished items, such as `"5%"`;
            None for no limit.
        on_outage: reaction when nearly everything fails: `pause` and try again periodically, `stop`, or `continue`.
        grace: seconds that items in flight have to finish when a run is stopped.
        max_input_bytes: bytes that an item of an input may have, such as a line of a file; a larger item fails.
        item_text: True to store a short text of every item in the ledger, except for integers of a range.
    """

    table: str | None = None
    chunk_size: int | None = None
    open_chunks: int | None = None
    threads: int = 16  # enough to use the time of network waits, and so few that hardly any server refuses them
    workers: int = 1
    backend: str = "process"
    ship: str | None = None
    insecure: bool = False
    retries: int = 2  # enough to outlast a failure of a second or two, because the waits grow
    retry_budget: str | None = "20%"  # as in Finagle (`percentCanRetry`)
    timeout: float | None = None
    rate: float | None = None
    per_host: int | None = None
    delay: float = 0.0
    adaptive: bool = False
    max_memory: int | str | None = "80%"  # leaves a fifth of the memory to other programs
    max_failures: int | str | None = None
    on_outage: str = "pause"
    grace: float = 10.0  # Docker kills a container 10 s after SIGTERM; few people wait longer
    max_input_bytes: int = MAX_INPUT_BYTES
    item_text: bool = True

    @property
    def host_limits(self) -> HostLimits:
        """Limits for requests to each host."""
        return HostLimits(self.per_host, self.delay, self.adaptive)

    @property
    def has_several_workers(self) -> bool:
        """True if limits of hosts are shared among several workers.

        This is also True for a cluster with one worker, because more workers may join.
        """
        return self.backend != "inline" and (self.workers > 1 or self.backend.startswith("dask:"))


AUTOMATIC = "automatic"
"""Text that stands for None in the settings of `CHOSEN`."""
CHOSEN = {"chunk_size": "what takes 2 to 10 s, 20,000 at most", "open_chunks": "a second of work"}
"""Settings whose value the run chooses unless the user sets it, each with the rule for the choice."""
INTERFACE_KEYS = frozenset({"theme", "keys", "notify"})
"""Keys of the configuration for the screens. The screens read and check them."""

ENVIRONMENT_PREFIX = "TUI_RUNNER_"
DEBUG_VARIABLE = ENVIRONMENT_PREFIX + "DEBUG"
"""The environment variable that has the effect of `--debug`."""
SET_PREFIX = ENVIRONMENT_PREFIX + "SET_"
"""Prefix of environment variables with values of job parameters. The name of the parameter follows in capitals."""
_SMALLEST_MEMORY = 1_000_000
"""Smallest memory limit in bytes. A smaller number probably lacks its unit."""
_LARGEST_INPUT = 1_000_000_000
"""Largest value of `max_input_bytes`. DuckDB reserves memory for several items of that size, even if all items are
small."""
_MOST = 1_000_000
"""Largest number of threads, chunks or items of a chunk. A larger number is probably a typing error."""
_MOST_WORKERS = 1_000
"""Largest number of worker processes. Each takes tens of megabytes."""

_UNITS = {
    "": 1,
    "k": 10**3,
    "m": 10**6,
    "g": 10**9,
    "t": 10**12,
    "ki": 2**10,
    "mi": 2**20,
    "gi": 2**30,
    "ti": 2**40,
}
"""Bytes of each unit, by its name in small letters."""


def resolve(
    *,
    job: Mapping[str, object] | None = None,
    config: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    command_line: Mapping[str, object] | None = None,
) -> Settings:
    """Return the settings of a run, each from the source with the highest priority.

    Args:
        job: settings of `@job(...)`.
        config: result of `read_config`. In its keys, `-` and `_` are the same, and `INTERFACE_KEYS` are ignored.
        environ: environment variables; those that begin with `TUI_RUNNER_` are read.
        command_line: options by the name of their setting; None for an option that was not given.

    Raises:
        UserError: a setting is unknown or cannot have its value; the message names the place and the most similar
            setting.
    """
    values: dict[str, Any] = {}
    for name, value in (job or {}).items():
        values[name] = check_setting(name, value, where=f"@job({name}=…)")
    place = getattr(config, "where", "configuration")
    for key, value in (config or {}).items():
        name = key.replace("-", "_")
        if name not in INTERFACE_KEYS:
            values[name] = check_setting(name, value, where=f"{place} {plain(key)}")
    values.update(_from_environment(environ or {}))
    for name, value in (command_line or {}).items():
        if value is not None:
            values[name] = check_setting(name, value, where="--" + name.replace("_", "-"))
    if str(values.get("backend", "")).startswith("dask:"):
        values.setdefault("workers", 0)
    return Settings(**values)


_MEANT = {
    **dict.fromkeys(("max_workers", "concurrency", "max_concurrency", "n_jobs"), "threads"),
    **dict.fromkeys(("processes", "procs"), "workers"),
    "max_retries": "retries",
}
"""Names that other libraries have for a setting. The `max_workers` of a thread pool are threads here."""


def check_setting(name: str, value: object, *, where: str) -> Any:
    """Convert and check a value for the setting `name`.

    Args:
        name: a field of `Settings`.
        value: text, or a value of the right type. None and the text `none` mean "no limit" for settings that are
            limits.
        where: the place that sets the value, with the name of the setting, for messages.

    Raises:
        UserError: there is no such setting, or it cannot have the value.
    """
    check = _CHECKS.get(name)
    if check is None:
        meant = _MEANT.get(name)
        do = f"did you mean {meant}?" if meant else did_you_mean(name, _CHECKS, "settings are")
        raise UserError("there is no such setting", where, do)
    word = value.strip().lower() if isinstance(value, str) else value
    if word in (None, "none") and name in _OPTIONAL:
        return None
    if word == AUTOMATIC and name in CHOSEN:
        return None
    try:
        return check(value)
    except _OutOfRange as error:
        raise UserError(f"{shortened(plain(value))} is {error}", where) from None
    except _Unfit as unfit:
        raise UserError(f"{quoted(value)} is not {unfit}", where=where) from None


def parse_size(text: str) -> int:
    """Convert a size such as `512MB`, `4 GB`, `2GiB`, `1.5g` or `1000000` to bytes.

    Raises:
        ValueError: `text` is not a size.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([kmgt]?i?)b?\s*", text.replace("_", ""), re.IGNORECASE)
    unit = found and _UNITS.get(found[2].lower())
    if not found or not unit:
        raise ValueError(f"not a size: {quoted(text)}")
    return int(float(found[1]) * unit) if "." in found[1] else int(found[1]) * unit


class _Unfit(Exception):
    """Raised if a setting cannot have a value; the message describes valid values."""


class _OutOfRange(Exception):
    """Raised for a number that is too small or too large; the message names the limit."""


def _from_environment(environ: Mapping[str, str]) -> Iterable[tuple[str, Any]]:
    for variable, text in environ.items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or not text.strip():
            continue
        if variable == DEBUG_VARIABLE or variable.startswith(SET_PREFIX):
            continue
        name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        if name in _CHECKS:
            yield name, check_setting(name, text, where=variable)
        elif name not in INTERFACE_KEYS:
            # Report a misspelt setting, but ignore variables of other programs.
            near = nearest(name, _CHECKS)
            if near is not None:
                do = f"did you mean {ENVIRONMENT_PREFIX}{near.upper()}?"
                raise UserError("there is no such setting", where=plain(variable), do=do)


def _whole(least: int, words: str, most: int = _MOST) -> Callable[[object], int]:
    def check(value: object) -> int:
        try:
            if isinstance(value, bool):
                raise TypeError
            number = int(value) if isinstance(value, str) else operator.index(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise _Unfit(words) from None
        if number > most:
            raise _OutOfRange(f"too large; give at most {most:,}")
        if number < least:
            raise _Unfit(words)
        return number

    return check


def _number(
    unit: str, *, zero: bool = False, least: float = 0.0, most: float = math.inf, optional: bool = False
) -> Callable[[object], float]:
    or_none = ", or none" if optional else ""
    words = f"a number of {unit}{', 0 or more' if zero else ' above 0'}{or_none}"

    def check(value: object) -> float:
        try:
            if isinstance(value, bool):
                raise TypeError
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            raise _Unfit(words) from None
        if not math.isfinite(number) or number < 0 or (number == 0 and not zero):
            raise _Unfit(words)
        if number and number < least:
            raise _OutOfRange(f"too small; give at least {least:f} {unit}{or_none}")
        if number > most:
            raise _OutOfRange(f"too large; give at most {most:,.0f} {unit}{or_none}")
        return number

    return check


def _memory(value: object) -> int | str:
    if isinstance(value, str) and value.strip().endswith("%"):
        return _share(value, "a share above 0% and up to 100%, or a size such as 4GB")
    try:
        size = parse_size(value) if isinstance(value, str) else operator.index(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise _Unfit("a size such as 512MB or 4GB") from None
    if isinstance(value, bool) or size < _SMALLEST_MEMORY:
        raise _Unfit("a size of at least 1MB, such as 512MB or 4GB")
    return size


def _input_size(value: object) -> int:
    try:
        size = parse_size(value) if isinstance(value, str) else operator.index(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise _Unfit("a size such as 16MB") from None
    if isinstance(value, bool) or not 1 <= size <= _LARGEST_INPUT:
        raise _Unfit("a size of at least 1 byte and at most 1GB, such as 16MB")
    return size


def _failures(value: object) -> int | str:
    words = 'a whole number of at least 1, or a share such as "5%"'
    if isinstance(value, str) and value.strip().endswith("%"):
        return _share(value, words)
    return _whole(1, words)(value)


def _share(text: str, words: str) -> str:
    try:
        share = float(text.strip()[:-1])
    except ValueError:
        raise _Unfit(words) from None
    if not 0 < share <= 100:
        raise _Unfit("a share above 0% and up to 100%")
    return f"{share:g}%"


def _budget(value: object) -> str:
    words = 'a share of the items such as "20%", or none'
    if not isinstance(value, str) or not value.strip().endswith("%"):
        raise _Unfit(words)
    return _share(value, words)


def _on_outage(value: object) -> str:
    if isinstance(value, str) and value.strip() in ("pause", "stop", "continue"):
        return value.strip()
    raise _Unfit("pause, stop or continue")


def _switch(value: object) -> bool:
    text = str(value).strip().lower()
    if isinstance(value, (bool, str)) and text in ("true", "false"):
        return text == "true"
    raise _Unfit("true or false")


def _table_name(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise _Unfit("the name of a table")
    if value.strip().lower().startswith("runner."):
        # Quoted, it would be a table of this name in schema main, and every command would take it for the ledger's.
        raise _Unfit("the name of a table for results: schema runner has the ledger")
    if len(value) > _LONGEST_NAME:
        raise _Unfit(f"the name of a table, which has at most {_LONGEST_NAME} characters")
    return value.strip()


def _folder(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _Unfit("a folder")
    return value


def _backend(value: object) -> str:
    if isinstance(value, str) and (value in ("process", "inline") or re.fullmatch(r"dask:\S+", value)):
        return value
    raise _Unfit("a backend; backends are process, inline, dask:ADDRESS")


_LONGEST_NAME = 255
"""Characters of a table's name at most, because it appears in commands that a user pastes."""
_LOWEST_RATE = 1e-6
"""Smallest rate in items per second: one item in twelve days. A thread must be able to wait for the time between two
items."""
_LONGEST_DELAY = 86_400.0
"""Largest `delay` in seconds: a day. A longer delay is probably a typing error."""
_LONGEST_SECONDS = 1e8
"""Largest number of seconds for other settings: three years. A longer time is probably a typing error."""

_CHECKS: dict[str, Callable[[object], Any]] = {
    "table": _table_name,
    "chunk_size": _whole(1, "a whole number of at least 1, or automatic"),
    "open_chunks": _whole(1, "a whole number of at least 1, or automatic"),
    "threads": _whole(1, "a whole number of at least 1"),
    "workers": _whole(1, "a whole number of at least 1", _MOST_WORKERS),
    "backend": _backend,
    "ship": _folder,
    "insecure": _switch,
    "retries": _whole(0, "a whole number, 0 or more"),
    "retry_budget": _budget,
    "timeout": _number("seconds", most=_LONGEST_SECONDS, optional=True),
    "rate": _number("items a second", least=_LOWEST_RATE, optional=True),
    "per_host": _whole(1, "a whole number of at least 1, or none"),
    "delay": _number("seconds", zero=True, most=_LONGEST_DELAY),
    "adaptive": _switch,
    "max_memory": _memory,
    "max_failures": _failures,
    "on_outage": _on_outage,
    "grace": _number("seconds", zero=True, most=_LONGEST_SECONDS),
    "max_input_bytes": _input_size,
    "item_text": _switch,
}
"""The function that checks and converts the values of each setting."""

_OPTIONAL = frozenset(field.name for field in fields(Settings) if field.default is None) | {
    "max_memory",
    "retry_budget",
}
"""Settings whose value may be None."""
