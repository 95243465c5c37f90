"""The form of a job: its parameters, its input and its settings, each checked beside its field as it is typed."""

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

OFFERED = ("threads", "chunk_size", "workers", "open_chunks", "retries", "timeout", "rate", "max_failures")
"""Settings that the form has; every other one keeps what the job and the configuration say."""

_PREVIEW = 3
_PREVIEW_AFTER = 0.4
"""Seconds without a key before the input is read: a file name is not worth opening at each of its letters."""


@dataclass(frozen=True, slots=True)
class Field:
    """A line of the form.

    Attributes:
        name: of the parameter or setting.
        kind: `parameter`, `input`, `database`, `limit` or `setting`.
        remark: what holds when it is left empty, type and help; not yet safe to show.
        check: raises `UserError` for a text that will not do.
        secret: whether what is typed is not shown.
        required: whether it may not be left empty.
        of_items: whether it is for the items that the job makes, and an input takes their place.
    """

    name: str
    kind: str
    remark: str
    check: Callable[[str], Any]
    secret: bool = False
    required: bool = False
    of_items: bool = False


def fields_of(job: Job, database: Path) -> list[Field]:
    """The lines of a job's form, the ones that must be filled in first."""
    beside_input = job.parameters_for(own_items=False)
    fields = [_of_parameter(each, of_items=each not in beside_input) for each in job.parameters]
    fields.sort(key=lambda field: not field.required)
    source = "its own items" if job.has_items else "a file, a glob, range:0:100, sql:SELECT …"
    fields.append(Field("input", "input", source, _check_input, required=not job.has_items))
    fields.append(Field("limit", "limit", "only the first so many items; all", _check_limit))
    fields.append(
        Field("database", "database", database.name, lambda text: check_place(database.parent / text, create=True))
    )
    defaults = Settings()
    for name in OFFERED:
        default = job.settings.get(name, getattr(defaults, name))
        unset = f"{AUTOMATIC}: {CHOSEN[name]}" if name in CHOSEN else "none"
        fields.append(Field(name, "setting", unset if default is None else str(default), _checker(name)))
    return fields


def _of_parameter(parameter: Parameter, *, of_items: bool) -> Field:
    default = "needed" if parameter.required else shortened(parameter.default_text, 60)
    remark = ", ".join(part for part in (default, parameter.kind, parameter.help) if part)
    return Field(
        parameter.name, "parameter", remark, parameter.convert, parameter.is_secret, parameter.required, of_items
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
    """The form. It has no keys of its own: arrows go from field to field, also where it is longer than the screen.

    Args:
        folder: where relative paths start.
        environ: environment variables.
        reading: held while the input is read, which may have to open a database.
        id: of the widget.
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
        self._fields: list[Field] = []

    async def fill(self, job: Job, reference: str) -> None:
        """Show the fields of a job, with the first one to be filled in; the fields are there when it returns."""
        self.job, self._reference = job, reference
        self._fields = fields_of(job, self._folder / f"{job.name}.duckdb")
        parts: list[Horizontal | Static] = []
        for number, field in enumerate(self._fields):
            label = Static(Content(safe_text(field.name, limit=22)), classes="label")
            line = TextField(password=field.secret, compact=True, classes=f"answer n{number}")
            parts.append(Horizontal(label, line, classes="field"))
            parts.append(Static(classes=f"complaint c{number}"))
            parts.append(Static(Content(safe_text(field.remark, limit=300)), classes=f"remark r{number}"))
            if field.kind == "input":
                parts.append(Static(id="preview"))
        await self._mount(parts)

    async def clear(self) -> None:
        """Show no form."""
        self.job = None
        await self._mount([])

    async def _mount(self, parts: list[Horizontal | Static]) -> None:
        await self.remove_children()
        if parts:
            await self.mount(*parts)
            self._go_to(0)
            self._preview()

    def on_resize(self) -> None:
        """Fit what is said of the fields into the new width."""
        self.call_after_refresh(self._fit)

    def on_descendant_focus(self) -> None:
        """Say the whole of what there is to say of the field that is typed in."""
        self.call_after_refresh(self._fit)

    def on_input_changed(self) -> None:
        """Check what is typed, and read the input again."""
        self._complain(empty_too=False)
        self._preview()

    def request(self, *, limit: int | None = None) -> RunRequest | None:
        """Return what the form asks for; None while something in it is wrong, which is then said beside its field."""
        if self.job is None or not self._complain(empty_too=True):
            return None
        typed = self._typed()
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
        """Return True if the input that is filled in gives its first item; if not, why is said beside its field."""
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
        """Say what is wrong with the database, and go there."""
        number = self._number("database")
        self._say(f".c{number}", safe_text(text, limit=300))
        self._go_to(number)

    def _number(self, kind: str) -> int:
        return [field.kind for field in self._fields].index(kind)

    def _go_to(self, number: int) -> None:
        # At once: `focus()` waits for its turn, and the keys that are there already would be lost.
        self.screen.set_focus(self.query_one(f".n{number}", Input))
        self.call_after_refresh(self._fit)

    def _say(self, below: str, text: str) -> None:
        """Say something below a field, or nothing."""
        for line in self.query(below).results(Static):
            line.update(Content(text))
            line.display = bool(text)

    def _fit(self) -> None:
        """Cut what is said of a field to its width; below the one that is typed in there is room for all of it."""
        for number, field in enumerate(self._fields):
            for line in self.query(f".n{number}").results(Input):
                line.placeholder = safe_text(field.remark, limit=line.size.width)
                complained = any(complaint.display for complaint in self.query(f".c{number}"))
                is_cut = len(field.remark) > line.size.width
                self.query(f".r{number}").set(display=line.has_focus and is_cut and not complained)
        self.call_after_refresh(self._keep_in_sight)

    def _keep_in_sight(self) -> None:
        """Scroll to what is said below the field that is typed in, but not so far that the field itself is hidden."""
        for number, field in enumerate(self._fields):
            for line in self.query(f".n{number}:focus"):
                said = self.query(f".c{number}, .r{number}" + (", #preview" if field.kind == "input" else ""))
                for part in (*reversed(said.nodes), line):
                    if part.display:
                        part.scroll_visible(animate=False, immediate=True)

    def _typed(self) -> dict[str, str]:
        """Return what stands in the fields that are not empty, by kind and name."""
        typed = {}
        for number, field in enumerate(self._fields):
            for line in self.query(f".n{number}").results(Input):
                if line.value.strip():
                    typed[f"{field.kind}:{field.name}"] = line.value if field.secret else line.value.strip()
        return typed

    def _complain(self, *, empty_too: bool) -> bool:
        """Say beside each field what is wrong with it; whether nothing is."""
        typed = self._typed()
        good = True
        for number, field in enumerate(self._fields):
            complaint = ""
            text = typed.get(f"{field.kind}:{field.name}")
            has_no_use = field.of_items and "input:input" in typed
            if text is not None and has_no_use:
                complaint = "the input takes the place of the items that this is for: leave one of the two empty"
            elif text is not None:
                try:
                    field.check(text)
                except UserError as error:
                    complaint = error.what
            elif field.required and empty_too and not has_no_use:
                complaint = "this is needed"
            if complaint and good:
                good = False
                if empty_too:
                    self._go_to(number)
            self._say(f".c{number}", safe_text(complaint, limit=300))
        self.call_after_refresh(self._fit)
        return good

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
        """Say below the input what its first items are, or what is wrong with it."""
        self.query("#preview").set_class(wrong, "wrong")
        self._say("#preview", text)
        self.call_after_refresh(self._keep_in_sight)


def _are_named(job: Job, typed: Mapping[str, str]) -> bool:
    """Return True if it is filled in where items come from. What is wrong is said beside its own field."""
    source = typed.get("input:input")
    if source is None and not job.has_items:
        return False
    try:
        if source is None:
            bind(job.parameters, _params(typed))
        else:
            _check_input(source)
    except UserError:
        return False
    return True


def first_items(job: Job, typed: Mapping[str, str], folder: Path, number: int) -> list[object]:
    """The first items of the input that is filled in; blocks.

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
    except Exception as error:  # a file that can be opened and not be read, say
        raise UserError(raised(error)) from error


def _shown(item: object) -> str:
    try:
        return str(item)
    except Exception:  # the `__str__` of a class of the user's own
        return type(item).__name__


def _params(typed: Mapping[str, str]) -> dict[str, str]:
    return {key.partition(":")[2]: text for key, text in typed.items() if key.startswith("parameter:")}
