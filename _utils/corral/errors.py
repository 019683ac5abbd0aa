"""What can go wrong, one class per meaning, and the one place where it becomes a Salt error."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar, overload

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


@overload
def salt_errors() -> AbstractContextManager[None]: ...


@overload
def salt_errors(function: Function) -> Function: ...


def salt_errors(function: Any = None) -> Any:
    """Let an execution function raise Salt's ``CommandExecutionError`` in place of ours.

    It stands around what the function does, ``with salt_errors():``, or above it, ``@salt_errors``. A
    loader file that must load without this package, to say that it is missing, can only do the former.
    """
    if function is None:
        return _translated()

    @functools.wraps(function)
    def translated(*args: Any, **kwargs: Any) -> Any:
        with _translated():
            return function(*args, **kwargs)

    return translated


@contextmanager
def _translated() -> Iterator[None]:
    from salt.exceptions import CommandExecutionError  # the only use of salt in this package

    try:
        yield
    except Error as error:
        raise CommandExecutionError(str(error)) from error
