"""What can go wrong, one class per meaning, and the one place where it becomes a Salt error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


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


@contextmanager
def salt_errors() -> Iterator[None]:
    """Let what an execution function does raise Salt's ``CommandExecutionError`` in place of ours.

    It is used inside functions, and not above them: a loader file must load without this package, to say
    that it is missing.
    """
    from salt.exceptions import CommandExecutionError  # the only use of salt in this package

    try:
        yield
    except Error as error:
        raise CommandExecutionError(str(error)) from error
