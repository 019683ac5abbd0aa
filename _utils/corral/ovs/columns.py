"""Columns of the database that are declared as they are, by the types that its schema gives them; pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from corral.change import Change, Path
from corral.errors import Invalid
from corral.ovs.own import is_own

Spec = dict[str, Any]
Declared = Mapping[str, Mapping[str, Mapping[str, Any]]]
NAMED_BY = {"Controller": "target", "Manager": "target"}  # the column that names a record; elsewhere: name
ALONE = ("Open_vSwitch", "SSL")  # tables with one row at most, which is called "."


@dataclass(frozen=True)
class Type:
    """The type of a column (RFC 7047, 3.2).

    key, value
        The types of its atoms; ``value`` only for a map.
    most
        How many it holds at most; ``None`` for any number.
    optional
        Whether it may hold none.
    allowed
        The texts that it may hold; empty for any.
    ephemeral
        Whether ovs-vswitchd writes it, and nobody else.
    """

    key: str
    value: str = ""
    most: int | None = 1
    optional: bool = False
    allowed: tuple[str, ...] = ()
    ephemeral: bool = False


@dataclass(frozen=True)
class Record:
    """One record as it is: its row, its columns in normal form, and their types."""

    types: Mapping[str, Type]
    row: Mapping[str, Any] | None = None
    values: Mapping[str, Any] = field(default_factory=dict)


def types(table: str, schema: Mapping[str, Any]) -> dict[str, Type]:
    """Return the types of a table's columns from the schema that ovsdb-server gives."""
    columns = schema["tables"].get(table, {}).get("columns", {})
    return {name: _type(column) for name, column in columns.items()}


def _type(column: Mapping[str, Any]) -> Type:
    given = column["type"]
    if isinstance(given, str):
        return Type(given, ephemeral=column.get("ephemeral", False))
    key, value = _base(given["key"]), _base(given.get("value", ""))
    most = given.get("max", 1)
    allowed = key.get("enum", [])
    return Type(
        key["type"],
        value["type"],
        None if most == "unlimited" else most,
        given.get("min", 1) == 0,
        tuple(allowed[1] if allowed[:1] == ["set"] else [allowed] if allowed else []),
        column.get("ephemeral", False),
    )


def _base(given: Any) -> dict[str, Any]:
    return {"type": given} if isinstance(given, str) else dict(given)


def read(kind: Type, value: Any) -> Any:
    """Return a column's value in normal form from what ovsdb-server sends."""
    found = value[1] if isinstance(value, list) and value[:1] in (["set"], ["map"]) else [value]
    if kind.value:
        return {_text(key): _text(one) for key, one in found}
    if kind.most != 1:
        return sorted(found)
    return found[0] if found else None


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def changes(current: Mapping[tuple[str, str], Record], declared: Declared) -> Iterator[Change]:
    """Yield the changes from the columns as they are to the declared ones.

    Raises ``Invalid`` for a column that is not there, or a value that is none of its type.
    """
    for table, records in declared.items():
        for name, columns in records.items():
            record = current.get((table, name))
            for column, value in columns.items():
                if record is None and value is not None:  # there is no Open vSwitch yet
                    yield Change((table, name, column), None, value)
                elif record is not None:
                    yield from _column((table, name, column), record, value)


def _column(where: Path, record: Record, value: Any) -> Iterator[Change]:
    at, kind = f"db.{'.'.join(where)}", record.types.get(where[2])
    if kind is None:
        raise Invalid(f"{at}: there is no such column")
    if kind.ephemeral or "uuid" in (kind.key, kind.value):
        why = "is what ovs-vswitchd reports" if kind.ephemeral else "refers to other rows"
        raise Invalid(f"{at}: {why} and cannot be set")
    there = record.values.get(where[2], {} if kind.value else None)
    if kind.value:
        if not isinstance(value, Mapping):
            raise Invalid(f"{at}: is a map, declare texts by key")
        for key, one in value.items():
            text = None if one is None else _text(_atom(f"{at}.{key}", kind.value, one))
            if where[2] == "external_ids" and is_own(str(key)):
                raise Invalid(f"{at}.{key}: is Corral's own mark and cannot be declared")
            if there.get(str(key)) != text:
                yield Change((*where, str(key)), there.get(str(key)), text)
        return
    wanted = _value(at, kind, value)
    if (there or None) != (wanted or None) or (there is None) != (wanted is None):
        yield Change(where, there, wanted)


def _value(at: str, kind: Type, value: Any) -> Any:
    if isinstance(value, Mapping):
        raise Invalid(f"{at}: is no map")
    if kind.most != 1:
        atoms = sorted(_atom(at, kind.key, one) for one in _several(value))
        if not atoms and not kind.optional:
            raise Invalid(f"{at}: cannot be empty")
        found: Any = atoms
    elif isinstance(value, list):
        raise Invalid(f"{at}: holds one value, not a list")
    elif value is None and not kind.optional:
        raise Invalid(f"{at}: cannot be empty")
    else:
        found = None if value is None else _atom(at, kind.key, value)
        atoms = [] if found is None else [found]
    for atom in atoms:
        if kind.allowed and atom not in kind.allowed:
            raise Invalid(f"{at}: {atom!r} is not {', '.join(map(str, sorted(kind.allowed)))}")
    return found


def _several(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _atom(at: str, kind: str, value: Any) -> Any:
    """Return one value as the database has it; ``Invalid`` when it is of another type."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    if kind == "string" and (isinstance(value, str | bool) or whole):
        return _text(value)
    if kind == "integer" and whole:
        return value
    if kind == "integer" and isinstance(value, str) and re.fullmatch(r"-?\d+", value):
        return int(value)
    if kind == "boolean" and isinstance(value, bool):
        return value
    if kind == "real" and (whole or isinstance(value, float)):
        return float(value)
    raise Invalid(f"{at}: {value!r} is not of type {kind}")


def encoded(kind: Type, value: Any) -> Any:
    """Return a value that is no map as OVSDB writes it."""
    if value is None or isinstance(value, list):
        return ["set", value or []]
    return value


def atom(kind: str, text: str) -> Any:
    """Return the key or the value of a map as OVSDB writes it."""
    if kind == "integer":
        return int(text)
    if kind == "real":
        return float(text)
    return text == "true" if kind == "boolean" else text
