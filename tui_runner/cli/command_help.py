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
"""Defaults of `Settings` and of `--limit` as text, by option. They are repeated here because `--help` does not import
the settings."""

_STATEMENT = re.compile(r"--[^=\s]*\s")
"""Matches the start of an SQL statement that begins with a comment. An option never has white space in its name."""


def examples(*lines: str) -> str:
    """Return the end of a command's help: the command lines `lines`, to copy."""
    return "\b\nExamples:\n" + "\n".join(f"  tui-runner {line}" for line in lines)


class GroupedCommand(TyperCommand):
    """A command whose help lists its options in groups (`rich_help_panel`)."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then each group of options, then the options without a group."""
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
        """Parse `args`. Add the command's context to an error, so that the message refers to the command's help."""
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            if getattr(error, "ctx", ctx) is None:
                error.ctx = ctx  # type: ignore[attr-defined]
            raise

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the parts of the usage line, with arguments written as in their `metavar`."""
        arguments = [str(param.metavar) for param in self.get_params(ctx) if param.param_type_name == "argument"]
        return ["[OPTIONS]", *arguments]

    def remark(self, param: Any) -> str:
        """Return a text to append to the help of a parameter; empty for none."""
        return ""


class RunCommand(GroupedCommand):
    """A command that begins runs. Its help names the default of each setting; other commands use the run's settings."""

    def remark(self, param: Any) -> str:
        """Return the default of a setting as text; empty for other parameters."""
        return f"  [default: {DEFAULTS[param.name]}]" if param.name in DEFAULTS else ""


class StatementCommand(GroupedCommand):
    """A command with an SQL statement as an argument, which may begin with `--` like an option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse `args`. A statement that begins with a comment is an argument, not an option."""
        with_value = {name for each in self.params if not getattr(each, "is_flag", True) for name in each.opts}
        words: list[str] = []
        for word in args:
            is_value = bool(words) and words[-1] in with_value
            # Put a space before the statement: SQL ignores it, and it keeps Click from reading the statement as an
            # option.
            words.append(f" {word}" if not is_value and _STATEMENT.match(word) else word)
        return super().parse_args(ctx, words)
