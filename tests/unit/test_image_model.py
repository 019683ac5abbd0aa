"""What may be declared about an image, and what decides whether it is the same."""

from __future__ import annotations

from typing import Any

import pytest

from corral.errors import Invalid
from corral.image.model import OzImage, declare
from corral.image.seal import agrees, seal

TDL: dict[str, Any] = {
    "os": "Fedora",
    "version": 23,
    "arch": "x86_64",
    "install": {"url": "http://install.example/f23/"},
}


def oz(build: dict[str, Any] | None = None, **tdl: Any) -> OzImage:
    image = declare("web", {"source": "oz", "tdl": {**TDL, **tdl}, "build": build or {}})
    assert isinstance(image, OzImage)
    return image


def test_the_key_is_the_same_as_ever() -> None:
    """A key that changed would have every image on every host built again."""
    assert oz().key() == "b77fb1d09a54"


@pytest.mark.parametrize(
    "same",
    [
        oz(version="23"),
        oz(description="words"),
        oz(rootpw="secret"),
        oz(packages=[], files={}),
        oz({"bridge": "virbr0", "memory": "1024M", "cpus": 2, "type": "kvm", "timeout": "2h"}),
    ],
)
def test_what_decides_nothing(same: OzImage) -> None:
    assert same.key() == oz().key()


@pytest.mark.parametrize(
    "other",
    [
        oz(version=24),
        oz(install={"url": "http://elsewhere.example/f23/"}),
        oz(packages=["tcpdump"]),
        oz(files={"/etc/motd": "hi"}),
        oz(commands=["true"]),
        oz(disk=20),
        oz({"auto": "# kickstart\n"}),
    ],
)
def test_what_decides(other: OzImage) -> None:
    assert other.key() != oz().key()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([], "images.web: is not a mapping"),
        ({}, "images.web.source: is required"),
        ({"source": ["oz"]}, "images.web.source: a list is not a source of images (oz, url, file)"),
        ({"source": "oz", "tdl": "<template/>"}, "images.web.tdl: a text is not valid"),
        ({"source": {"oz": {"tdl": {"rootpw": "s3cret"}}}}, "images.web.source: a dict is not a source of"),
        (
            {"source": "oz", "tdl": {**TDL, "install": "http://me:pw@h/"}},
            "images.web.tdl.install: a text is not",
        ),
        ({"source": "oz"}, "images.web.tdl: is required"),
        ({"source": "oz", "tdl": TDL, "name": "b"}, "images.web.name: unknown key"),
        ({"source": "oz", "tdl": TDL, "url": "http://h/"}, "images.web.url: unknown key"),
        ({"source": "oz", "tdl": TDL, "format": "vmdk"}, "images.web.format: 'vmdk' is not valid"),
        ({"source": "oz", "tdl": TDL, "build": {"memory": 512}}, "'512' is not a memory size in whole MiB"),
        ({"source": "oz", "tdl": TDL, "build": {"timeout": 0}}, "images.web.build.timeout: 0 is less than 1"),
        ({"source": "oz", "tdl": TDL, "build": {"type": "xen"}}, "images.web.build.type: 'xen' is not valid"),
        (
            {"source": "oz", "tdl": TDL, "build": {"uri": "qemu+ssh://h/system"}},
            "is not a libvirt of this host",
        ),
        (
            {"source": "oz", "tdl": TDL, "build": {"bridge": "a b"}},
            "images.web.build.bridge: 'a b' is not an",
        ),
        ({"source": "url", "url": "https://h/a"}, "images.web.sha256: is required"),
        ({"source": "url", "url": "ssh://h/a", "sha256": "0" * 64}, "images.web.url: is not a URL"),
        (
            {"source": "url", "url": "https://h/a", "sha256": "0"},
            "images.web.sha256: '0' is not a SHA-256 sum",
        ),
        ({"source": "file", "path": "a"}, "images.web.path: 'a' is not an absolute path"),
        (
            {"source": "file", "path": "/a", "superseded": "drop"},
            "images.web.superseded: 'drop' is not valid",
        ),
    ],
)
def test_bad_declarations(data: Any, said: str) -> None:
    with pytest.raises(Invalid) as raised:
        declare("web", data)
    assert said in str(raised.value)
    assert str(raised.value).startswith("images.web")


def test_bad_names_begin_with_what_was_written() -> None:
    with pytest.raises(Invalid, match=r"images\.\.\./x\.name: '\.\./x' is not a name"):
        declare("../x", {"source": "file", "path": "/a"})


def test_sealed_secrets() -> None:
    sealed = seal({"rootpw": "a"})
    assert sealed is not None
    assert sealed != seal({"rootpw": "a"})
    assert agrees(sealed, {"rootpw": "a"})
    assert not agrees(sealed, {"rootpw": "b"})
    assert not agrees(None, {"rootpw": "a"})
    assert agrees(sealed, {})
    assert agrees(seal({}), {})
