"""The form of a job: its parameters, input and settings, each checked while it is typed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from textual import work
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static

from tui_runner.engine.planning.request import STANDARD_INPUT, RunRequest
from tui_runner.errors import UserError
from tui_runner.inputs import made_items, open_source
from tui_runner.jobs.job import Job
from tui_runner.jobs.parameters import Parameter, bind
from tui_runner.jobs.settings import AUTOMATIC, CHOSEN, Settings, check_setting
from tui_runner.store.file_check import check_place
from tui_runner.text.messages import raised, shortened
from tui_runner.text.redaction import Redaction
from tui_runner.text.safe_text import safe_text
from tui_runner.tui.background import in_thread
from tui_runner.tui.terminal.key_order import TextField

OFFERED = {
    "threads": "items executed at once, over all workers",
    "workers": "processes; more of them for functions that compute",
    "max_memory": "bytes such as 4GB, or a share of this machine such as 80%; with the workers",
    "rate": "items started a second, over all workers",
    "per_host": "requests at once to one host, in each worker",
    "retries": "attempts after the first one has failed",
    "timeout": "seconds that an attempt may take",
    "max_failures": "failed items, or a share of them such as 5%, that end the run",
    "chunk_size": "items a chunk: what is shown, paused and cancelled together",
    "open_chunks": "chunks that are with workers at once",
}
"""Settings in the form, with their meaning. All other settings have the values of the job and the configuration."""

_PREVIEW = 3
"""Items shown before the start: enough to see that the input is the right one, and few enough to fit beside the
form."""
_PREVIEW_AFTER = 0.4
"""Seconds without a key before the input is read, so that a file name is not opened at each letter."""


@dataclass(frozen=True, slots=True)
class Field:
    """A line of the form.

    Attributes:
        name: name of the parameter or setting.
        kind: `parameter`, `input`, `database`, `limit` or `setting`.
        unset: the value of an empty field; not yet safe to show.
        remark: type, unit and help; not yet safe to show.
        section: heading above it.
        check: raises `UserError` for an invalid text.
        secret: True to hide the typed text.
        required: True if it must not be empty.
        of_items: True if it is for the job's own items, which an input replaces.
    """

    name: str
    kind: str
    unset: str
    remark: str
    section: str
    check: Callable[[str], Any]
    secret: bool = False
    required: bool = False
    of_items: bool = False


def fields_of(job: Job, database: Path) -> list[Field]:
    """Return the fields of a job's form, in their sections; parameters in the order of the job."""
    beside_input = job.parameters_for(own_items=False)
    fields = [_of_parameter(each, of_items=each not in beside_input) for each in job.parameters]
    source = "the job's own items" if job.has_items else ""
    what = "a file, a glob, range:0:100, sql:SELECT …"
    fields.append(Field("input", "input", source, what, "input", _check_input, required=not job.has_items))
    fields.append(Field("limit", "limit", "all items", "items from the first on", "input", _check_limit))
    fields.append(
        Field(
            "database",
            "database",
            database.name,
            "DuckDB file that takes the rows",
            "output",
            lambda text: check_place(database.parent / text, create=True),
        )
    )
    defaults = Settings()
    for name, meaning in OFFERED.items():
        default = job.settings.get(name, getattr(defaults, name))
        unset = f"{AUTOMATIC}: {CHOSEN[name]}" if name in CHOSEN else "no limit"
        shown = unset if default is None else str(default)
        fields.append(Field(name, "setting", shown, meaning, "how it runs", _checker(name)))
    return fields


def _of_parameter(parameter: Parameter, *, of_items: bool) -> Field:
    return Field(
        parameter.name,
        "parameter",
        "" if parameter.required else shortened(parameter.default_text, 60),
        ", ".join(part for part in (parameter.kind, parameter.help) if part),
        "parameters of the items" if of_items else "parameters",
        parameter.convert,
        parameter.is_secret,
        parameter.required,
        of_items,
    )


def _check_input(text: str) -> str:
    if text == STANDARD_INPUT:
        raise UserError("standard input is the keyboard here; use: … | tui-runner run JOB --input -")
    return text


def _check_limit(text: str) -> int:
    if not text.isdecimal():
        raise UserError("a whole number, or nothing for all items")
    return int(text)


def _checker(name: str) -> Callable[[str], Any]:
    return lambda text: check_setting(name, text, where=name)


class JobForm(VerticalScroll, inherit_bindings=False):
    """The form. It has no keys of its own: arrows move between fields and scroll the form if necessary.

    Args:
        folder: folder of relative paths.
        environ: environment variables.
        reading: lock that is held while the input is read, which may open a database.
        id: id of the widget.
    """

    can_focus = False

    def __init__(
        self, folder: Path, environ: Mapping[str, str], *, reading: threading.Lock, id: str | None = None
    ) -> None:
        super().__init__(id=id)
        self._reading = reading
        self._folder = folder
        self._environ = environ
        self.job: Job | None = None
        self._reference = ""
        self._lines: list[_Line] = []
        self._preview_line: Static | None = None

    async def fill(self, job: Job, reference: str) -> None:
        """Show the fields of a job, and focus the first one to fill in. The fields exist when this returns."""
        self.job, self._reference = job, reference
        fields = fields_of(job, self._folder / f"{job.name}.duckdb")
        self._lines = [_Line(field, number) for number, field in enumerate(fields)]
        parts: list[Horizontal | Static] = []
        section = ""
        for line in self._lines:
            field = line.field
            if field.section != section:
                section = field.section
                parts.append(Static(Content(f"── {section} "), classes="section"))
            parts += [Horizontal(line.label, line.input, classes="field"), line.complaint, line.remark]
            if field.kind == "input":
                self._preview_line = Static(id="preview")
                parts.append(self._preview_line)
        await self._mount(parts)

    async def clear(self) -> None:
        """Remove the form."""
        self.job, self._lines, self._preview_line = None, [], None
        await self._mount([])

    async def _mount(self, parts: list[Horizontal | Static]) -> None:
        await self.remove_children()
        if parts:
            await self.mount(*parts)
            first = next((n for n, line in enumerate(self._lines) if line.field.required), 0)
            self._go_to(first)
            self._preview()

    def on_resize(self) -> None:
        """Keep the focused field visible."""
        self.call_after_refresh(self._keep_in_sight)

    def on_descendant_focus(self) -> None:
        """Show type, unit and help of the focused field only."""
        for line in self._lines:
            line.show_remark(line.input.has_focus)
        self.call_after_refresh(self._keep_in_sight)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Check the typed text, and read the input again."""
        changed = next((line for line in self._lines if line.input is event.input), None)
        # A change may make another field valid: an input replaces the job's own items.
        lines = self._lines if changed is None or changed.field.kind == "input" else [changed]
        typed = self._typed()
        changes = [line.complain(self._complaint(line.field, typed, empty_too=False)) for line in lines]
        if any(changes):
            self.call_after_refresh(self._keep_in_sight)
        self._preview()

    @property
    def at_end(self) -> bool:
        """True if the cursor is in the last field."""
        return bool(self._lines) and self._lines[-1].input.has_focus

    def look_in(self, folder: Path) -> None:
        """Change the folder of relative paths."""
        self._folder = folder

    def request(self, *, limit: int | None = None, secrets: bool = True) -> RunRequest | None:
        """Return the request of the form. If a field is wrong, show its error beside it and return None.

        Args:
            limit: items at most; None for the value of the form.
            secrets: True to include secret parameters.
        """
        if self.job is None or not self._is_good():
            return None
        typed = self._typed(secrets=secrets)
        database = typed.get("database:database")
        count = typed.get("limit:limit")
        return RunRequest(
            job=self._reference,
            params=_params(typed),
            settings={key.partition(":")[2]: text for key, text in typed.items() if key.startswith("setting:")},
            database=self._folder / database if database else None,
            input=typed.get("input:input"),
            limit=limit if limit is not None else int(count) if count else None,
        )

    async def items_are_good(self) -> bool:
        """Return True if the first item of the input can be read. Otherwise show the reason beside its field."""
        job, typed = self.job, self._typed()
        if job is not None:
            try:
                await in_thread(lambda: self._first_items(job, typed, 1), "items")
            except UserError as error:
                self._tell_items(safe_text(str(error), limit=300), wrong=True)
                self._go_to(self._number("input"))
                return False
        return True

    def _first_items(self, job: Job, typed: Mapping[str, str], number: int) -> list[object]:
        with self._reading:
            return first_items(job, typed, self._folder, number)

    def complain_of_database(self, text: str) -> None:
        """Show an error of the database beside its field, and focus the field."""
        if self._lines:
            number = self._number("database")
            self._lines[number].complain(text)
            self._go_to(number)

    def _number(self, kind: str) -> int:
        return [line.field.kind for line in self._lines].index(kind)

    def _go_to(self, number: int) -> None:
        # Set the focus at once: `focus()` is delayed, and waiting keys would be lost.
        self.screen.set_focus(self._lines[number].input)
        self.call_after_refresh(self._keep_in_sight)

    def _keep_in_sight(self) -> None:
        """Scroll to the message below the focused field, but not so far that the field itself is hidden."""
        for line in self._lines:
            if line.input.has_focus:
                below = [line.complaint, line.remark]
                if line.field.kind == "input" and self._preview_line is not None:
                    below.append(self._preview_line)
                for part in (*reversed(below), line.input):
                    if part.display:
                        part.scroll_visible(animate=False, immediate=True)

    def _typed(self, *, secrets: bool = True) -> dict[str, str]:
        """Return the texts of the fields that are not empty, by kind and name."""
        return {
            f"{line.field.kind}:{line.field.name}": line.input.value if line.field.secret else line.input.value.strip()
            for line in self._lines
            if line.input.value.strip() and (secrets or not line.field.secret)
        }

    def _complaint(self, field: Field, typed: Mapping[str, str], *, empty_too: bool) -> str:
        """Return the error of a field; empty if it is valid."""
        text = typed.get(f"{field.kind}:{field.name}")
        has_no_use = field.of_items and "input:input" in typed
        if text is None:
            return "this is needed" if field.required and empty_too and not has_no_use else ""
        if has_no_use:
            return "the input takes the place of the items that this is for: leave one of the two empty"
        try:
            field.check(text)
        except UserError as error:
            return error.what
        return ""

    def _is_good(self) -> bool:
        """Show errors next to their fields, and focus the first one. Return True if the form is valid."""
        typed, wrong = self._typed(), None
        for number, line in enumerate(self._lines):
            complaint = self._complaint(line.field, typed, empty_too=True)
            line.complain(complaint)
            if complaint and wrong is None:
                wrong = number
        if wrong is not None:
            self._go_to(wrong)
        return wrong is None

    @work(exclusive=True, group="preview")
    async def _preview(self) -> None:
        await asyncio.sleep(_PREVIEW_AFTER)
        job, typed = self.job, self._typed()
        if job is None:
            return
        if not _are_named(job, typed):
            self._tell_items("")
            return
        try:
            first = await in_thread(lambda: self._first_items(job, typed, _PREVIEW), "preview")
        except UserError as error:
            self._tell_items(safe_text(str(error), limit=300), wrong=True)
        else:
            shown = "".join(f"\n  {safe_text(_shown(item), limit=200)}" for item in first)
            self._tell_items(f"first items{shown}" if first else "no items")

    def _tell_items(self, text: str, *, wrong: bool = False) -> None:
        """Show the first items below the input, or its error."""
        if self._preview_line is not None:
            self._preview_line.set_class(wrong, "wrong")
            _show(self._preview_line, text)
            self.call_after_refresh(self._keep_in_sight)


class _Line:
    """A field on the screen: label, text, error, remark. Each change costs a layout, so a key must make few changes."""

    def __init__(self, field: Field, number: int) -> None:
        self.field = field
        mark = (" *", "bold") if field.required else ""
        self.label = Static(Content.assemble(safe_text(field.name, limit=20), mark), classes="label")
        unset = f"({safe_text(field.unset, limit=80)})" if field.unset else "(needed)" if field.required else ""
        self.input = TextField(
            password=field.secret, compact=True, classes=f"answer n{number}", placeholder=unset, valid_empty=True
        )
        self.complaint = Static(classes=f"complaint c{number}")
        self.remark = Static(Content(safe_text(field.remark, limit=300)), classes=f"remark r{number}")
        self._complaint = ""

    def complain(self, text: str) -> bool:
        """Show an error below the field, or none. Return True if that changes the screen."""
        if text == self._complaint:
            return False
        self._complaint = text
        _show(self.complaint, safe_text(text, limit=300))
        self.show_remark(self.input.has_focus)
        return True

    def show_remark(self, wanted: bool) -> None:
        """Show type, unit and help, unless an error is shown instead."""
        display = wanted and bool(self.field.remark) and not self._complaint
        if self.remark.display != display:
            self.remark.display = display


def _show(line: Static, text: str) -> None:
    """Show a line below a field, or hide it."""
    line.update(Content(text))
    if line.display != bool(text):
        line.display = bool(text)


def _are_named(job: Job, typed: Mapping[str, str]) -> bool:
    """Return True if the form has an input. Errors of the input are shown beside its own field."""
    source = typed.get("input:input")
    if source is None and not job.has_items:
        return False
    try:
        if source is None:
            bind(job.parameters, _params(typed))
        else:
            _check_input(source)
    except UserError:  # reported beside the field of the input
        return False
    return True


def first_items(job: Job, typed: Mapping[str, str], folder: Path, number: int) -> list[object]:
    """Return the first items of the form's input; blocks.

    Raises:
        UserError: the input cannot be opened or read, or the job's own items cannot be made.
    """
    try:
        if source := typed.get("input:input"):
            opened = open_source(_check_input(source), database=folder / f"{job.name}.duckdb", folder=folder)
        else:
            params = bind(job.parameters, _params(typed))
            opened = made_items(lambda: job.make_items(params), Redaction.of(params))
        return list(islice(opened, number))
    except UserError:
        raise
    except Exception as error:  # for example, a file that can be opened but not read
        raise UserError(raised(error)) from error


def _shown(item: object) -> str:
    try:
        return str(item)
    except Exception:  # `__str__` of a user's class may raise anything
        return type(item).__name__


def _params(typed: Mapping[str, str]) -> dict[str, str]:
    return {key.partition(":")[2]: text for key, text in typed.items() if key.startswith("parameter:")}
