"""Checks that a change must pass, one session each; `.ci/run` runs the same in a fresh environment."""

from __future__ import annotations

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["tests", "slow", "lint"]


@nox.session
def tests(session: nox.Session) -> None:
    """Run the quick tests."""
    session.run("python", "-m", "pytest", *session.posargs, external=True)


@nox.session
def slow(session: nox.Session) -> None:
    """Run the tests that are slow by nature: faults, pictures, real terminals."""
    session.run("python", "-m", "pytest", "-m", "slow", *session.posargs, external=True)


@nox.session
def lint(session: nox.Session) -> None:
    """Check format, lint, types and layers."""
    session.run("ruff", "check", ".", external=True)
    session.run("ruff", "format", "--check", ".", external=True)
    session.run("mypy", external=True)
    session.run("lint-imports", external=True)


@nox.session
def security(session: nox.Session) -> None:
    """Look for known faults of the dependencies and for risky calls; needs the network."""
    session.run("pip-audit", "-r", "constraints.txt", "--no-deps", "--disable-pip", external=True)
    session.run("bandit", "-q", "-c", "pyproject.toml", "-r", "tui_runner", external=True)
