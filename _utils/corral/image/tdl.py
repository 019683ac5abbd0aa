"""What an installation by oz is made of: the TDL (template description language) as a declaration.

The words are those of oz's TDL; what its schema does not say but its code demands (TDL.py) is said here.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult, quote, urlsplit

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator
from typing_extensions import Self

from corral.kinds import AbsolutePath, Flag, Text
from corral.model import Model

SUMS = ("md5sum", "sha1sum", "sha256sum")
HIDDEN = "********"  # in place of a secret
SHORTEST = 6  # characters of a secret: a shorter one could not be told from other words of oz's
HOST_ITSELF = ("localhost", "localhost.localdomain", "127.0.0.1", "::1")
# XML 1.0 §2.2 leaves these out; a carriage return would come back as a line feed (§2.11).
NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\r\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def _line(value: Any) -> str:
    """Return one line of text; a whole number may stand for its digits."""
    if isinstance(value, float):
        raise ValueError(f"{value!r} is a number to YAML, which drops trailing zeros; put it in quotes")
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str):
        raise ValueError("is not text")
    if not text or text != text.strip() or re.search("[\n\t]", text) or NOT_IN_XML.search(text):
        raise ValueError("is not one line of text without white space at its ends")
    return text


def url(value: Any) -> str:
    """Return a URL without user or password, which would end up in logs and in the image."""
    text = _line(value)
    strange = re.search(r"[^!-~]", text)
    if strange:
        raise ValueError(f"holds {strange[0]!r}; write {quote(strange[0])}, in a host's name its xn--… form")
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https", "ftp", "file") or not (parts.netloc or parts.scheme == "file"):
        raise ValueError("is not a URL (http, https, ftp or file)")
    if "@" in parts.netloc:
        raise ValueError("holds a user or password; they would be stored and shown")
    _host(parts)
    return text


def _host(parts: SplitResult) -> None:
    """Raise ``ValueError`` for a host or port that nobody could ask for."""
    try:
        (parts.hostname or "").encode("idna")
    except UnicodeError:
        raise ValueError(f"names the host {parts.hostname!r}, which no host can have as its name") from None
    try:
        _ = parts.port
    except ValueError:
        raise ValueError("names a port that is not a number up to 65535") from None


def _url_for_guest(value: Any) -> str:
    text = url(value)
    if urlsplit(text).hostname in HOST_ITSELF:
        raise ValueError(
            f"{text!r} is the guest itself when the guest fetches it; name an address of the host"
        )
    return text


def _gib(value: Any) -> int:
    match = re.fullmatch(r"(\d+) ?(?:([GT])(?:iB)?)?", str(value)) if not isinstance(value, bool) else None
    if not match or not int(match[1]):
        raise ValueError(f"{value!r} is not a disk size in whole GiB (10, 10G, 2T)")
    return int(match[1]) * (1024 if match[2] == "T" else 1)


Line = Annotated[str, BeforeValidator(_line)]
Url = Annotated[str, BeforeValidator(url)]
GuestUrl = Annotated[str, BeforeValidator(_url_for_guest)]
Gib = Annotated[int, BeforeValidator(_gib)]
Arch = Literal["i386", "x86_64", "ppc64", "ppc64le", "aarch64", "armv7l", "s390x"]


class Content(Model):
    """Text, or ``{base64: …}``, or ``{url: …}`` that oz fetches. Base64 of plain text is the text."""

    raw: Text | None = None
    base64: Text | None = None
    url: Url | None = None

    @model_validator(mode="before")
    @classmethod
    def _normal(cls, value: Any) -> Any:
        given = {"raw": value} if isinstance(value, str) else value
        if not isinstance(given, Mapping):
            raise ValueError("is not text, nor a mapping with raw, base64 or url")
        if isinstance(given.get("base64"), str):
            given = {**given, **_decoded(given["base64"])}
        return given

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(part is not None for part in (self.raw, self.base64, self.url)) != 1:
            raise ValueError("needs exactly one of raw, base64 and url")
        if self.raw is not None and re.search("[\ud800-\udfff]", self.raw):
            raise ValueError("is not text that UTF-8 can hold")
        return self


def _decoded(text: str) -> dict[str, str | None]:
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error:
        raise ValueError("base64 is not valid") from None
    try:
        return {"base64": None, "raw": data.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


class Command(Content):
    """A command that oz runs in the installed guest; its place in the list is its order."""

    name: Line

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.raw is not None and not self.raw.strip():
            raise ValueError("is empty, which oz refuses")
        return self


class Extra(Model):
    """A file or directory to put on the installation medium."""

    file: Url | None = None
    directory: Url | None = None
    destination: Line

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.file is None) == (self.directory is None):
            raise ValueError("needs exactly one of file and directory")
        return self


class Install(Model):
    """Where the installation comes from: a tree (``url``) or a medium (``iso``)."""

    type: Literal["url", "iso"] | None = Field(default=None, exclude=True)  # may be said, and must be true
    url: GuestUrl | None = None
    iso: Url | None = None
    md5sum: Url | None = None
    sha1sum: Url | None = None
    sha256sum: Url | None = None
    extras: tuple[Extra, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _without_saying_it_twice(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and value.get("type") in ("url", "iso") and value["type"] in value:
            return {key: item for key, item in value.items() if key != "type"}
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.url is None) == (self.iso is None):
            raise ValueError("needs exactly one of url and iso")
        kind = "url" if self.url else "iso"
        if self.type is not None:
            raise ValueError(f"type is {self.type}, but {kind} is given")
        sums = [s for s in SUMS if getattr(self, s) is not None]
        if self.url and (sums or self.extras):
            raise ValueError("checksums and extras go with iso, not with url")
        if len(sums) > 1:
            raise ValueError(f"takes one of {', '.join(SUMS)}")
        return self


class Package(Model):
    """A package to install, by name or with where it comes from."""

    name: Line
    repository: Line | None = None
    file: Line | None = None
    arguments: Line | None = None


class Repository(Model):
    """A package repository for the guest; what is not said is oz's choice."""

    url: GuestUrl
    signed: Flag | None = None
    persisted: Flag | None = None
    sslverify: Flag | None = None


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _located(value: Any) -> Any:
    return {"url": value} if isinstance(value, str) else value


def _commands(value: Any) -> Any:
    """Give each command without a name one of its place, so that a rendered TDL reads back the same."""
    if not isinstance(value, list | tuple):
        return value
    given = [{"raw": c} if isinstance(c, str) else c for c in value]
    return [
        {"name": f"command-{n}", **c} if isinstance(c, Mapping) else c for n, c in enumerate(given, start=1)
    ]


Commands = Annotated[tuple[Command, ...], BeforeValidator(_commands)]


class Tdl(Model):
    """The declaration of an installation. Its name is the image's, so it has none of its own."""

    os: Line
    version: Line
    arch: Arch
    install: Install
    rootpw: SecretStr | None = None
    key: SecretStr | None = None
    kernelparam: Line | None = None
    description: Text | None = None
    packages: tuple[Annotated[Package, BeforeValidator(_named)], ...] = ()
    repositories: dict[Line, Annotated[Repository, BeforeValidator(_located)]] = Field(default_factory=dict)
    files: dict[AbsolutePath, Content] = Field(default_factory=dict)
    precommands: Commands = ()
    commands: Commands = ()
    disk: Gib | None = None

    @field_validator("rootpw", "key")
    @classmethod
    def _one_line(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(_line(value.get_secret_value())) < SHORTEST:
            raise ValueError(f"is shorter than {SHORTEST} characters")
        return value

    @field_validator("description")
    @classmethod
    def _fits_xml(cls, value: str | None) -> str | None:
        if value is not None and NOT_IN_XML.search(value):
            raise ValueError("holds a character that XML cannot")
        return value

    @property
    def customised(self) -> bool:
        """Whether oz must start the installed guest once more to work in it (``oz-install -u``)."""
        return bool(self.packages or self.repositories or self.files or self.commands or self.precommands)

    def secrets(self) -> dict[str, str]:
        """Return what of the declaration must never be shown, by key."""
        named = {"rootpw": self.rootpw, "key": self.key}
        return {key: value.get_secret_value() for key, value in named.items() if value is not None}

    def essence(self) -> dict[str, Any]:
        """Return what decides the guest's content, without secrets and without the description."""
        return self.model_dump(
            mode="json", exclude={"rootpw", "key", "description"}, exclude_none=True, exclude_defaults=True
        )
