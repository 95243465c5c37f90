"""Runs a request in the foreground: on the dashboard, or without a screen."""

from __future__ import annotations

import getpass
import io
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TextIO

from tui_runner.cli.headless import how_to_go_on, watcher
from tui_runner.cli.json_events import JsonEvents
from tui_runner.cli.overwritten_line import Lines, SlowOnly, for_stream
from tui_runner.cli.program import Program
from tui_runner.cli.progress_lines import closing_lines, complaint, recorded_failures, shown_path
from tui_runner.cli.scaffold import copy_samples, write_job
from tui_runner.engine.assembly import open_runner
from tui_runner.engine.captured_output import CapturedOutput
from tui_runner.engine.planning.request import STANDARD_INPUT, RunRequest, plan_run, secrets_in_sight
from tui_runner.engine.planning.resume import retry_request
from tui_runner.engine.runner import Runner
from tui_runner.errors import EXIT_KILLED, EXIT_OK, EXIT_USAGE, ExitCode, UserError
from tui_runner.inputs.source import silent
from tui_runner.jobs.config_file import read_config
from tui_runner.jobs.origin import JobOrigin, job_origin
from tui_runner.system.memory import return_freed_memory
from tui_runner.system.terminal import is_terminal, needs_screen
from tui_runner.text.messages import plain
from tui_runner.text.redaction import safe_traceback
from tui_runner.text.safe_text import safe_text


@dataclass(frozen=True, slots=True)
class Display:
    """The options for how a run is shown.

    Attributes:
        headless: True to run without the dashboard, False to show the dashboard, None to show it only at a terminal.
        json: True for JSON events on standard output.
        quiet: True to write only errors and warnings to standard error.
        theme: name of the dashboard's theme; None for the theme in the configuration.
    """

    headless: bool | None = None
    json: bool = False
    quiet: bool = False
    theme: str | None = None


def run_in_foreground(request: RunRequest, display: Display, program: Program) -> int:
    """Run a request to its end. Return the exit code.

    Raises:
        UserError: the request has a mistake; nothing was written.
        DatabaseError: the database cannot be used.
    """
    return_freed_memory()  # before threads start, because each would get an arena
    here = Path.cwd()
    headless = _is_headless(request, display, program.out)
    if request.folder is not None:
        # Change the current folder, so that the job finds relative paths that it opens itself.
        os.chdir(request.folder)
    # What a job writes while it is loaded or creates its items must not be mixed with the JSON events.
    output = program.catch_output(reserve_stdout=True)
    if not headless:
        return _on_dashboard(request, display, here, output)
    if display.theme is not None:  # without a screen the theme is not used, but a wrong name is still an error
        from tui_runner.tui.themes import find_themes

        find_themes().named(display.theme)
    return _without_screen(_planned(request, display, output), display, here, output)


def resume_in_foreground(request: RunRequest, display: Display, program: Program, *, yes: bool) -> int:
    """Print the job of a request from the ledger, ask the user if necessary, and run it. Return the exit code.

    Args:
        request: from `resume_request` or `retry_request`.
        display: how to show the run.
        program: the call of the command line.
        yes: True if the user has agreed to any job.

    Raises:
        UserError: the user did not agree, or the request has a mistake; nothing was executed.
        DatabaseError: the database cannot be used.
    """
    origin = job_origin(
        request.job, input=request.input, database=request.database, begun_in=request.folder, here=Path.cwd()
    )
    Lines(sys.stderr, is_terminal(sys.stderr)).say(f"job: {safe_text(origin.text)}")
    if origin.reasons and not yes:
        _ask_to_run(origin)
    return run_in_foreground(request, display, program)


def _ask_to_run(origin: JobOrigin) -> None:
    """Ask at the terminal if a job may run. Raise `UserError` if there is no terminal or the user does not say yes."""
    do = "look at the file, then add --yes"
    if not _can_ask(sys.stderr):
        raise UserError(f"not run, because {origin.why}", plain(origin.text), do)
    warning = for_stream(safe_text(origin.warning), sys.stderr)
    print(f"{warning}\nRun it? [y/N] ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.buffer.readline()  # read bytes, because the input may not be UTF-8
    if not answer.endswith(b"\n"):  # after Ctrl-D the cursor is still on the line of the question
        print(file=sys.stderr)
    if answer.strip().lower() not in (b"y", b"yes"):
        raise UserError("not run, because the answer was not yes", plain(origin.text), do)


def launch(theme: str | None, program: Program) -> int:
    """Show the launcher and do what the user chooses there. Return the exit code.

    Raises:
        UserError: there is no such theme.
        DatabaseError: the database cannot be used.
    """
    from tui_runner.tui.launcher import Spot, Starters
    from tui_runner.tui.launcher import launch as choose  # imported here because Textual takes 200 ms
    from tui_runner.tui.query.app import open_database
    from tui_runner.tui.terminal.driver import kept_screen_ended
    from tui_runner.tui.themes import chosen_theme

    return_freed_memory()  # before threads start, because each would get an arena
    here = Path.cwd()
    display = Display(theme=chosen_theme(theme, os.environ))
    output = program.catch_output(reserve_stdout=True)
    starters = Starters(_first_job, _samples)
    spot = Spot(here)
    with kept_screen_ended(output):
        while True:
            # A resumed run has changed the current folder to its own.
            os.chdir(spot.folder)
            chosen, spot = choose(
                spot,
                os.environ,
                theme=display.theme,
                begin=partial(_begun, output=output),
                captured_output=output,
                starters=starters,
                shell=here,
            )
            if isinstance(chosen, Runner):
                code = _show(chosen, display, here, output, from_list=True)
                if code is not None:
                    return code
                output.discard()
                continue
            output.discard()  # discard what jobs wrote that were only shown in the form
            if chosen is None:
                return EXIT_OK
            if isinstance(chosen, RunRequest):
                return run_in_foreground(chosen, display, program)
            # Show the launcher again afterwards, because users usually continue there.
            open_database(chosen, theme=display.theme, output=output, from_list=True)


def _first_job(folder: Path) -> str:
    return _first_line_written(lambda out: write_job(folder / "first_job.py", out))


def _samples(folder: Path) -> str:
    return _first_line_written(lambda out: copy_samples(folder, out))


def _first_line_written(work: Callable[[TextIO], int]) -> str:
    """Run a function of `scaffold` and return the first line that it writes."""
    out = io.StringIO()
    work(out)
    return out.getvalue().split("\n", 1)[0]


def _begun(request: RunRequest, output: CapturedOutput) -> Runner:
    """Return a runner for a request of the launcher.

    Secrets cannot be asked for, because the launcher occupies the screen.
    """
    here = Path.cwd()
    try:
        if request.folder is not None:
            os.chdir(request.folder)
        output.discard()  # discard what jobs wrote that were shown or tried before
        request = replace(request, attended=True)
        plan = plan_run(request, folder=Path.cwd(), environ=os.environ, use_redaction=output.use_redaction)
        return open_runner(plan, output)
    except BaseException:
        os.chdir(here)
        raise


def _planned(request: RunRequest, display: Display, output: CapturedOutput) -> Runner:
    """Return a runner for a request, and print what the user's code wrote while it was loaded."""
    lines = Lines(output.err, is_terminal(output.err))
    say = SlowOnly(lambda doing: lines.overwrite(safe_text(doing)) if lines.live else lines.say(safe_text(doing)))
    try:
        plan = plan_run(
            request,
            folder=Path.cwd(),
            environ=os.environ,
            ask=_asker(output),
            use_redaction=output.use_redaction,
            progress=silent if display.quiet or display.json else say,
        )
    finally:
        lines.clear()
    for warning in secrets_in_sight(plan.job, request.params):
        print(for_stream(warning, output.err), file=output.err)
    runner = open_runner(plan, output)
    output.show()
    return runner


def _asker(output: CapturedOutput) -> Callable[[str], str] | None:
    """Return a function that asks for a secret at the terminal without showing it; None if there is no terminal."""
    if not _can_ask(output.err):
        return None
    return lambda name: getpass.getpass(f"{safe_text(name)} (secret, not shown): ")


def _can_ask(shown: TextIO) -> bool:
    """Return True if there is a terminal at which the user can read a question and type."""
    return is_terminal(sys.stdin) and is_terminal(shown)


def _is_headless(request: RunRequest, display: Display, out: TextIO) -> bool:
    if display.json and sys.__stdout__ is None:  # `>&-`; `prepare_streams` replaced it by /dev/null
        raise UserError("standard output is closed, so no events can be written", "--json", "leave out >&-")
    terminal = is_terminal(sys.stdin) and is_terminal(out)
    piped = request.input == STANDARD_INPUT
    if display.headless is False:
        where = "--tui"
        if display.json or display.quiet:
            other = "--json" if display.json else "--quiet"
            raise UserError(f"{other} and --tui exclude each other", do="leave one of them out")
        if piped:
            raise UserError("items from standard input leave the dashboard without a keyboard", where, "leave it out")
        if not terminal:
            raise UserError(needs_screen("the dashboard"), where, "use --headless here")
        return False
    return bool(display.headless) or display.json or display.quiet or piped or not terminal


def _without_screen(runner: Runner, display: Display, folder: Path, output: CapturedOutput) -> ExitCode:
    live = is_terminal(output.err)
    silent = display.json and not live  # the events contain everything
    code = watcher(
        runner,
        events=JsonEvents(output.out, resumed=runner.resumed) if display.json else None,
        lines=None if silent else Lines(output.err, live, quiet=display.quiet),
        folder=folder if live else None,
        output=output,
    ).run(runner.close)
    if silent and code == EXIT_USAGE:
        print(for_stream(complaint(runner.snapshot()), output.err), file=output.err)
    return code


def _on_dashboard(request: RunRequest, display: Display, folder: Path, output: CapturedOutput) -> ExitCode:
    # Imported here because Textual takes 200 ms and only the dashboard needs it. The whole application is loaded before
    # the job: Textual imports optional libraries, and a file beside the job may have the name of one.
    import tui_runner.tui.app  # noqa: F401
    from tui_runner.tui.themes import chosen_theme

    chosen_theme(display.theme, os.environ, read_config(Path.cwd()))  # report a wrong name before a database is created
    code = _show(_planned(replace(request, attended=True), display, output), display, folder, output)
    return EXIT_OK if code is None else code


def _show(
    runner: Runner, display: Display, folder: Path, output: CapturedOutput, *, from_list: bool = False
) -> int | None:
    """Show a run until its end. Return the exit code; None to return to the launcher."""
    # Imported here because Textual takes 200 ms and only this path needs it.
    from tui_runner.store.access import LocalAccess
    from tui_runner.tui.app import Left, run_app
    from tui_runner.tui.preferences import State, state_file
    from tui_runner.tui.terminal.textual_fixes import ScreenFailed
    from tui_runner.tui.themes import chosen_theme

    config = read_config(Path.cwd())
    State(state_file()).remember_job(runner.plan.job.path)
    try:
        left = run_app(
            runner,
            access=lambda: LocalAccess(runner.database),
            theme=chosen_theme(display.theme, os.environ, config),
            keymap=_keymap(config),
            captured_output=output,
            from_list=from_list,
            folder=folder,
        )
        if left is Left.GOING_ON:
            output.detach()
            watch = watcher(runner, events=None, lines=None, folder=folder, output=output, started=True)
            return watch.run(runner.close)
        runner.join()
        recorded = recorded_failures(runner)
    except ScreenFailed as failed:
        return _after_screen(runner, failed, folder, output)
    finally:
        runner.close()
    snapshot = runner.snapshot()
    if left is Left.TO_LIST:
        return None
    if left is Left.TO_RETRY:
        again = replace(retry_request(runner.plan.database, snapshot.run_id), attended=True)
        return _show(_planned(again, display, output), display, folder, output, from_list=from_list)
    database = shown_path(runner.plan.database, folder)
    output.detach()  # the signal may arrive before the terminal is gone
    for line in closing_lines(snapshot, database, how_to_go_on(runner, database, folder), recorded):
        print(for_stream(line, output.out), file=output.out)
    return EXIT_KILLED if left is Left.KILLED else snapshot.exit_code


def _after_screen(runner: Runner, failed: Exception, folder: Path, output: CapturedOutput) -> ExitCode:
    """Continue without the dashboard after an error of the screen, which must not stop hours of work."""
    if failed.__cause__ is not None:
        print(safe_traceback(failed.__cause__, output.redact), file=output.err, end="")
    lines = Lines(output.err, is_terminal(output.err))
    lines.say("tui-runner: the dashboard has failed, please report it; the run continues, Ctrl-C stops it")
    watch = watcher(runner, events=None, lines=lines, folder=folder, output=output, started=True)
    return watch.run(runner.close)


def _keymap(config: Mapping[str, object]) -> dict[str, str]:
    """Return the user's keys by action, as text. The keys of a list are joined with commas."""
    keys = config.get("keys")
    if not isinstance(keys, Mapping):
        return {}
    return {str(name): ",".join(map(str, key)) if isinstance(key, list) else str(key) for name, key in keys.items()}
