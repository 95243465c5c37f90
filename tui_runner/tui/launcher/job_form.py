"""The form of a job: fields for its parameters, input and settings, which are checked while the user types.

Fields are mounted once and used again for other jobs, because mounting the fields of a form delays the next key.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path

from textual import work
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input, Static

from tui_runner.engine.planning.request import RunRequest
from tui_runner.errors import UserError
from tui_runner.inputs import made_items, open_source
from tui_runner.jobs.job import Job
from tui_runner.jobs.parameters import bind
from tui_runner.text.messages import raised
from tui_runner.text.redaction import Redaction
from tui_runner.text.safe_text import safe_text
from tui_runner.tui.background import in_thread
from tui_runner.tui.launcher.discovery import FoundJob
from tui_runner.tui.launcher.field_line import INLINE, FieldLine
from tui_runner.tui.launcher.fields import (
    INPUT,
    OFFERED,
    PARAMETERS,
    SETTINGS,
    Defaults,
    Draft,
    Field,
    check_input,
    fields_of,
)

_PREVIEW = 3
"""Items of the input that the form shows: enough to recognize a wrong input, and few enough to fit between the
fields."""
_PREVIEW_AFTER = 0.4
"""Seconds after the last key until the input is read, so that not every part of a typed file name is opened."""

_PREPARED = 6
"""Fields for parameters that are mounted before a job needs them, enough for most jobs. Mounting one takes 10 ms."""


class JobForm(VerticalScroll, inherit_bindings=False):
    """The form. It has no keys of its own: the launcher's keys move between the fields.

    Args:
        environ: environment variables.
        reading: lock that is held while the input is read, which may open a database.
        id: id of the widget.
    """

    can_focus = False

    def __init__(self, environ: Mapping[str, str], *, reading: threading.Lock, id: str | None = None) -> None:
        super().__init__(id=id)
        self._reading = reading
        self._environ = environ
        self.job: Job | None = None
        self._defaults = Defaults(Path(), environ)
        self._found = FoundJob("", "", "", "")
        self._lines: list[FieldLine] = []
        """The fields of the job, in their order."""
        self._spare: list[FieldLine] = []
        """Hidden fields for parameters, which this job does not need."""
        self._input, self._limit, self._database = (FieldLine() for _ in range(3))
        self._settings = {name: FieldLine(classes="setting") for name in OFFERED}
        self._headings = {name: _Heading(name) for name in (PARAMETERS, INPUT, SETTINGS)}
        self._preview_line = Static(id="preview")
        self._focused: FieldLine | None = None

    def compose(self) -> ComposeResult:
        """Yield the headings, and the fields that every job has. Fields for parameters are mounted later."""
        yield self._headings[PARAMETERS]
        yield self._headings[INPUT]
        yield self._input
        yield self._preview_line
        yield self._limit
        yield self._database
        yield self._headings[SETTINGS]
        yield from self._settings.values()

    async def prepare(self) -> None:
        """Mount hidden fields for parameters, unless it has been done or a job is already shown."""
        if not self._spare and not self._lines:
            self._spare = [FieldLine() for _ in range(_PREPARED)]
            for line in self._spare:
                line.display = False
            await self.mount(*self._spare, after=self._headings[PARAMETERS])

    async def fill(
        self, job: Job, found: FoundJob, defaults: Defaults, draft: Draft, *, width: int, shared: str = ""
    ) -> None:
        """Show the fields of a job with the texts of its draft.

        Args:
            job: the job.
            found: the description of the job from its source.
            defaults: the values of empty fields.
            draft: the texts that were typed before.
            width: width of the form in cells, which is not yet known to a hidden form.
            shared: a warning that the default database has a table of another job; empty for none.
        """
        self.job, self._found, self._defaults = job, found, defaults
        fields = fields_of(job, defaults, makes_items=found.makes_items, shared=shared)
        with self.app.batch_update(), self.prevent(Input.Changed):
            await self._show(fields, draft, width)
        self._tell_items(draft.first_items)
        self._preview()

    async def _show(self, fields: Iterable[Field], draft: Draft, width: int) -> None:
        parameters = [line for line in self._lines if line.field.kind == "parameter"] + self._spare
        used: list[FieldLine] = []
        after: Widget = self._headings[PARAMETERS]
        self._lines = []
        for field in fields:
            match field.kind:
                case "parameter":
                    line = parameters[len(used)] if len(used) < len(parameters) else FieldLine()
                    used.append(line)
                    await self._place(line, after)
                case "setting":
                    line = self._settings[field.name]
                case kind:
                    line = {"input": self._input, "limit": self._limit, "database": self._database}[kind]
            line.show(field, draft.typed.get(field.key, ""), width)
            self._lines.append(line)
            if field.kind == "parameter":
                after = line
            elif field.kind == "input":
                after = self._preview_line
        self._spare = parameters[len(used) :]
        for line in self._spare:
            line.display = False
        has_parameters = self._lines[0].field.section == PARAMETERS
        self._headings[PARAMETERS].display = has_parameters
        self._headings[INPUT].set_class(not has_parameters, "first")

    async def _place(self, line: FieldLine, after: Widget) -> None:
        """Mount the field of a parameter after another widget, or move it there."""
        if not line.is_attached:
            await self.mount(line, after=after)
        elif self.children.index(line) != self.children.index(after) + 1:
            self.move_child(line, after=after)

    def clear(self) -> Draft:
        """Forget the job, so that its items are no longer read. Return the texts of the form."""
        draft = self.draft
        self.job = None
        return draft

    @property
    def draft(self) -> Draft:
        """The texts in the form now."""
        keys = frozenset(line.field.key for line in self._lines if line.field.secret)
        shown = "" if self._preview_line.has_class("wrong") else str(self._preview_line.content)
        return Draft(self._typed(), keys, shown)

    def input_of(self, name: str) -> Input:
        """Return the text field of the first line whose field has this name."""
        return next(line.input for line in self._lines if line.field.name == name)

    def go_to_first(self) -> None:
        """Focus the first required field that is empty; if there is none, the first field."""
        empty = (n for n, line in enumerate(self._lines) if line.field.required and not line.input.value)
        self._go_to(next(empty, 0))

    def go_to_field(self, key: str) -> None:
        """Focus the field with this `Field.key`; do nothing if the form has none."""
        for number, line in enumerate(self._lines):
            if line.field.key == key:
                self._go_to(number)

    def go_on(self, fields: int) -> None:
        """Focus the field `fields` further on, or further back if negative. The first field follows the last."""
        here = next((n for n, line in enumerate(self._lines) if line.input.has_focus), 0)
        self._go_to((here + fields) % len(self._lines))

    def on_resize(self) -> None:
        """Fit the fields into the width, and keep the focused one visible."""
        self.set_class(self.size.width < INLINE, "narrow")
        for line in self._lines:
            line.fit(self.size.width)
        self.call_after_refresh(self._keep_in_sight)

    def watch_virtual_size(self) -> None:
        """Keep the focused field visible when lines have appeared or gone.

        The scrolling waits for the layout, from which the widgets get their places.
        """
        self.call_after_refresh(self._keep_in_sight)

    def on_descendant_focus(self) -> None:
        """Show the help of the focused field, and hide that of the previous one."""
        focused = next((line for line in self._lines if line.input.has_focus), None)
        for line in (self._focused, focused):
            if line is not None:
                line.explain()
        self._focused = focused
        self._keep_in_sight()
        self.call_after_refresh(self._keep_in_sight)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Check the changed field, or all fields if it is the input, and show the first items soon."""
        changed = next((line for line in self._lines if line.input is event.input), None)
        # An input replaces the job's own items, so it decides which parameters may be filled in.
        lines = self._lines if changed is None or changed.field.kind == "input" else [changed]
        typed = self._typed()
        for line in lines:
            line.complain(self._complaint(line.field, typed, empty_too=False))
        self._preview()

    @property
    def at_end(self) -> bool:
        """True if the last field has the focus."""
        return bool(self._lines) and self._lines[-1].input.has_focus

    def request(self, *, limit: int | None = None) -> RunRequest | None:
        """Return the request to run the job with the texts of the form, or None without a job.

        If fields are invalid, show the error below each of them and return None.

        Args:
            limit: number of items to run at most; None for the limit in the form.
        """
        if self.job is None or not self._is_good():
            return None
        request = request_of(self._found, self._typed(), self._defaults.folder)
        return request if limit is None else replace(request, limit=limit)

    def go_to_fault(self) -> None:
        """Focus the first field with an error; do nothing if no field has one."""
        wrong = (number for number, line in enumerate(self._lines) if line.is_wrong)
        if (number := next(wrong, None)) is not None:
            self._go_to(number)

    async def items_are_good(self) -> bool:
        """Return True if the input can be opened and read. Otherwise show the reason below its field."""
        job, typed = self.job, self._typed()
        if job is not None:
            try:
                await in_thread(lambda: self._first_items(job, typed, 1), "items")
            except UserError as error:
                self._tell_items(safe_text(str(error), limit=300), wrong=True)
                return False
        return True

    def _first_items(self, job: Job, typed: Mapping[str, str], number: int) -> list[object]:
        with self._reading:
            return first_items(job, typed, self._defaults, number)

    def complain_of_database(self, text: str) -> None:
        """Show an error of the database below its field."""
        self._database.complain(text)

    def _go_to(self, number: int) -> None:
        # `focus()` sets the focus later, so keys that wait already would go to the previous field. Textual's own
        # scrolling is later, too, and ends at another place.
        self.screen.set_focus(self._lines[number].input, scroll_visible=False)
        self._keep_in_sight()

    def _keep_in_sight(self) -> None:
        """Scroll the focused field to the middle, with its error and help; the input field with its preview.

        Messages appear and disappear while the user types, in an order that depends on the load of the machine. The
        result must not depend on it, so the scroll offset is computed from the layout alone, not from the offset
        before.
        """
        focused = next((line for line in self._lines if line.input.has_focus), None)
        if focused is None or not self.size.height:
            return
        below: Widget = focused
        if focused is self._input and self._preview_line.display:
            below = self._preview_line
        top, bottom, height = focused.virtual_region.y, below.virtual_region.bottom, self.size.height
        above = max((height - (bottom - top)) // 2, 0)
        self.scroll_to(y=max(0, min(self.virtual_size.height - height, top - above)), animate=False, immediate=True)

    def _typed(self) -> dict[str, str]:
        """Return the texts of the fields that are not empty, by `Field.key`."""
        return {
            line.field.key: line.input.value if line.field.secret else line.input.value.strip()
            for line in self._lines
            if line.input.value.strip()
        }

    def _complaint(self, field: Field, typed: Mapping[str, str], *, empty_too: bool) -> str:
        """Return the error of a field; empty if the field is valid.

        Args:
            field: the field.
            typed: the texts of all fields, by `Field.key`.
            empty_too: True to report a required field that is empty, which is no mistake while the user types.
        """
        text = typed.get(field.key)
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
        """Show the error of each field below it. Return True if all fields are valid."""
        typed = self._typed()
        for line in self._lines:
            line.complain(self._complaint(line.field, typed, empty_too=True))
        return not any(line.is_wrong for line in self._lines)

    @work(exclusive=True, group="preview")
    async def _preview(self) -> None:
        await asyncio.sleep(_PREVIEW_AFTER)
        job, typed = self.job, self._typed()
        if job is None:
            return
        if not _are_named(job, typed, self._defaults):
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
        """Show a text below the input: its first items, or with `wrong` its error. An empty text shows none."""
        self._preview_line.set_class(wrong, "wrong")
        self._preview_line.update(Content(text))
        self._preview_line.display = bool(text)


class _Heading(Static):
    def __init__(self, text: str) -> None:
        super().__init__(Content(f"── {text} {'─' * 200}").stylize("$text-accent", 0, len(text) + 3), classes="section")
        self.set_class(text == PARAMETERS, "first")


def request_of(found: FoundJob, typed: Mapping[str, str], folder: Path) -> RunRequest:
    """Return a request to run a job with the texts of its form.

    Args:
        found: the job.
        typed: texts by `Field.key`. They are not checked; a limit that is no number is left out.
        folder: folder to which a relative path of the database refers.
    """
    database = typed.get("database:database")
    count = typed.get("limit:limit", "")
    return RunRequest(
        job=found.job,
        params=_params(typed),
        settings={key.partition(":")[2]: text for key, text in typed.items() if key.startswith("setting:")},
        database=folder / database if database else None,
        input=typed.get("input:input"),
        limit=int(count) if count.isdecimal() else None,
        folder=found.folder,
    )


def _are_named(job: Job, typed: Mapping[str, str], defaults: Defaults) -> bool:
    """Return True if the items can be read: there is an input, or the parameters for the job's own items are valid."""
    source = typed.get("input:input")
    if source is None and not job.has_items:
        return False
    try:
        if source is None:
            bind(job.parameters, _values(job, typed, defaults))
        else:
            check_input(source)
    except UserError:  # `JobForm._complaint` shows this error below the field
        return False
    return True


def first_items(job: Job, typed: Mapping[str, str], defaults: Defaults, number: int) -> list[object]:
    """Return the first items of the typed input, or of the job's own items without one. It may block.

    Args:
        job: the job.
        typed: texts by `Field.key`.
        defaults: the values of empty fields.
        number: most items to return.

    Raises:
        UserError: the input cannot be opened or read, or the job's own items cannot be made.
    """
    try:
        if source := typed.get("input:input"):
            folder = defaults.folder
            opened = open_source(check_input(source), database=defaults.database(job.name), folder=folder)
        else:
            params = bind(job.parameters, _values(job, typed, defaults))
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


def _values(job: Job, typed: Mapping[str, str], defaults: Defaults) -> dict[str, str]:
    """Return the texts of parameters by name, from the form or else from environment variables."""
    variables = {each.name: defaults.from_environment(each.name) for each in job.parameters}
    given = {name: defaults.environ[variable] for name, variable in variables.items() if variable is not None}
    return given | _params(typed)
