"""Packs job parameters for a worker process.

A value may be of a class of the job's own file, for example an enumeration. A process can unpickle such a value only
after it has loaded that file. So the values are sent as bytes, which the worker unpickles after it has loaded the job.
A default that cannot be pickled, for example a lambda, is not sent: the worker finds it in the job.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any

from tui_runner.errors import UserError
from tui_runner.jobs.job import Job
from tui_runner.system.process import no_exit_at_once
from tui_runner.text.messages import plain


def pack_params(job: Job, params: Mapping[str, Any]) -> bytes:
    """Return the parameters of `job` pickled, without defaults that cannot be pickled.

    Raises:
        UserError: a value that the user gave cannot be pickled; the error names its parameter.
    """
    defaults = _defaults(job)
    sent = dict(params)
    with no_exit_at_once():
        if not _travels(sent):
            for name, value in params.items():
                if _travels(value):
                    continue
                if name not in defaults or value is not defaults[name]:
                    what = f"a value of type {plain(type(value).__name__)} cannot be sent to a worker"
                    raise UserError(what, f"parameter {plain(name)}", "make it in setup, from a value that can be sent")
                del sent[name]
        return pickle.dumps(sent, protocol=pickle.HIGHEST_PROTOCOL)


def unpack_params(job: Job, packed: bytes) -> dict[str, Any]:
    """Return the values of all parameters of `job` from a result of `pack_params` and the defaults of the job."""
    sent: dict[str, Any] = pickle.loads(packed)  # noqa: S301 - made by our own parent process
    return _defaults(job) | sent


def _defaults(job: Job) -> dict[str, Any]:
    return {parameter.name: parameter.default for parameter in job.parameters if not parameter.required}


def _travels(value: object) -> bool:
    try:
        pickle.loads(pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL))  # noqa: S301 - made here
    except (Exception, SystemExit):  # `__reduce__` may be user code and raise anything
        return False
    return True
