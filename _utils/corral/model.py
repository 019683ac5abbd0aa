"""The base of every declaration: strict, frozen, and with errors that name the path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from typing_extensions import Self

from corral.errors import Invalid


class Model(BaseModel):
    """What may be declared about one noun.

    Unknown keys are errors. A key that was not given is "not mentioned" and stays untouched;
    ``None`` that was given means "must be absent".
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def declare(cls, data: Any, at: str = "") -> Self:
        """Build the model from pillar or state arguments.

        data
            A mapping in the vocabulary of the model.
        at
            The path that errors begin with, for example ``pools.web``.

        Raises ``Invalid`` with one sentence per wrong value, each naming its path.
        """
        try:
            return cls.model_validate(plain(data))
        except ValidationError as errors:
            raise Invalid("; ".join(_sentence(at, e) for e in errors.errors())) from None

    def declared(self) -> dict[str, Any]:
        """Return what was mentioned, as plain data in normal form."""
        return self.model_dump(mode="json", exclude_unset=True)


def plain(value: Any) -> Any:
    """Turn Salt's containers (masked or ordered) into plain ones, so that they compare and print."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def dotted(at: str, loc: tuple[Any, ...]) -> str:
    """Return ``pools.web.networks[0].vlan`` for a start and the steps from it."""
    path = at
    for step in loc:
        if step == "[key]":
            continue
        path += f"[{step}]" if isinstance(step, int) else f"{'.' if path else ''}{step}"
    return path or "declaration"


def _sentence(at: str, error: Mapping[str, Any]) -> str:
    path, kind, context = dotted(at, error["loc"]), error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return f"{path}: unknown key"
    if kind == "missing":
        return f"{path}: is required"
    if kind in ("value_error", "assertion_error"):
        return f"{path}: {context.get('error', error['msg'])}"
    message = error["msg"][0].lower() + error["msg"][1:]
    return f"{path}: {_shown(kind, error['input'])} is not valid, {message}"


def _shown(kind: str, value: Any) -> str:
    """Return what may be shown of a wrong value: no container, which may hold a secret; a text only where a
    word or a number belongs, since every secret is text; and nothing that stands where text belongs."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, str) and not kind.startswith(("literal_", "int_", "bool_")):
        return "a text"
    return f"a value of type {type(value).__name__}" if kind.startswith("string_") else repr(value)
