"""Prints the help of a command: options in groups, their defaults, and command lines to copy."""

from __future__ import annotations

import re
from typing import Any

from typer.core import TyperCommand

DEFAULTS = {
    "threads": "16",
    "workers": "1",
    "backend": "process",
    "retries": "2",
    "timeout": "none",
    "rate": "none",
    "per_host": "none",
    "delay": "0",
    "adaptive": "off",
    "max_memory": "80%",
    "max_failures": "none",
    "on_outage": "pause",
    "grace": "10",
    "limit": "none",
}
"""Defaults of `Settings` by option, as text, because `--help` does not import the settings."""

_STATEMENT = re.compile(r"--[^=\s]*\s")
"""Matches the beginning of an SQL statement that begins with a comment: no option has white space in its name."""


def examples(*lines: str) -> str:
    """Return the end of a command's help: command lines to copy."""
    return "\b\nExamples:\n" + "\n".join(f"  tui-runner {line}" for line in lines)


class GroupedCommand(TyperCommand):
    """A command whose help lists its options in their groups (`rich_help_panel`)."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then each group, then the options without one."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                kind = "Arguments" if param.param_type_name == "argument" else "Options"
                group = getattr(param, "rich_help_panel", None) or kind
                groups.setdefault(group, []).append((record[0], record[1] + self.remark(param)))
        ungrouped = groups.pop("Options", [])
        grouped = groups.keys() - {"Arguments"}
        for title, records in (*groups.items(), ("Others" if grouped else "Options", ungrouped)):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse `args`. An error gets the context of the command, so that the message refers to its help."""
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            if getattr(error, "ctx", ctx) is None:
                error.ctx = ctx  # type: ignore[attr-defined]
            raise

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the parts of the usage line, with the usual names of arguments."""
        arguments = [str(param.metavar) for param in self.get_params(ctx) if param.param_type_name == "argument"]
        return ["[OPTIONS]", *arguments]

    def remark(self, param: Any) -> str:
        """Return a text to append to the help of a parameter."""
        return ""


class RunCommand(GroupedCommand):
    """A command that begins runs. Its settings have defaults; other commands keep the settings of the run."""

    def remark(self, param: Any) -> str:
        """Return the default of a setting."""
        return f"  [default: {DEFAULTS[param.name]}]" if param.name in DEFAULTS else ""


class StatementCommand(GroupedCommand):
    """A command with a statement as an argument, which may begin with `--` like an option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse `args`; a statement that begins with a comment is an argument, not an option."""
        with_value = {name for each in self.params if not getattr(each, "is_flag", True) for name in each.opts}
        words: list[str] = []
        for word in args:
            is_value = bool(words) and words[-1] in with_value
            # Put a blank before the statement: SQL ignores it, and Click then does not read the statement as an option.
            words.append(f" {word}" if not is_value and _STATEMENT.match(word) else word)
        return super().parse_args(ctx, words)
