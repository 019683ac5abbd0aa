"""What can go wrong, one class per meaning, and the one place where it becomes a Salt error."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


class Error(Exception):
    """Anything Corral says to the operator; its text is one sentence."""


class Invalid(Error):
    """The declaration is wrong; the text begins with the path of the wrong value."""


class Unavailable(Error):
    """A daemon or library that is needed does not answer."""


class NotInstalled(Unavailable):
    """The product is not on this host yet: no program, no socket, no database."""


class Refused(Error):
    """The daemon, or a rule of ours, said no; the text carries its reason."""


class Conflict(Error):
    """Somebody else wrote between our read and our write; reading and planning again may help."""


def salt_errors(function: Function) -> Function:
    """Let an execution function raise Salt's ``CommandExecutionError`` in place of ours."""

    @functools.wraps(function)
    def translated(*args: Any, **kwargs: Any) -> Any:
        from salt.exceptions import CommandExecutionError  # the only use of salt in this package

        try:
            return function(*args, **kwargs)
        except Error as error:
            raise CommandExecutionError(str(error)) from error

    return translated  # type: ignore[return-value]
