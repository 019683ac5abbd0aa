"""The declaration of an installation, and its way into XML and back."""

from __future__ import annotations

import base64
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.errors import Invalid
from corral.image.render import parse, render, shown
from corral.image.tdl import SHORTEST, Content, Tdl

MINIMAL: dict[str, Any] = {
    "os": "Fedora",
    "version": 23,
    "arch": "x86_64",
    "install": {"url": "http://install.example/f23/"},
}

line = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters="\ufffe\uffff"))
line = line.map(str.strip).filter(bool).filter(lambda text: not text.isspace())
secret = line.filter(lambda text: len(text) >= SHORTEST)
any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
url = st.sampled_from(["http://install.example/a", "https://h.example:8443/b?c=d&e", "ftp://f.example/<x>"])
content = st.one_of(
    any_text,
    st.builds(lambda raw: {"raw": raw}, any_text),
    st.binary(max_size=30).map(lambda data: {"base64": base64.b64encode(data).decode()}),
    st.builds(lambda where: {"url": where}, url),
)
command = st.one_of(
    any_text.filter(str.strip),
    st.builds(lambda name, raw: {"name": name, "raw": raw}, line, any_text.filter(str.strip)),
    st.builds(lambda where: {"url": where}, url),
)
flag = st.none() | st.booleans()
install = st.one_of(
    st.builds(lambda where: {"url": where}, url),
    st.fixed_dictionaries(
        {"iso": url},
        optional={
            "sha256sum": url,
            "extras": st.lists(
                st.builds(
                    lambda kind, where, to: {kind: where, "destination": to},
                    st.sampled_from(["file", "directory"]),
                    url,
                    line,
                ),
                max_size=2,
            ),
        },
    ),
)
tdl = st.fixed_dictionaries(
    {"os": line, "version": line | st.integers(0, 99), "arch": st.just("x86_64"), "install": install},
    optional={
        "rootpw": secret,
        "key": secret,
        "kernelparam": line,
        "description": any_text.filter(lambda text: text.isprintable()),
        "packages": st.lists(
            line | st.fixed_dictionaries({"name": line}, optional={"repository": line, "arguments": line}),
            max_size=3,
        ),
        "repositories": st.dictionaries(
            line,
            url | st.fixed_dictionaries({"url": url}, optional={"signed": flag, "persisted": flag}),
            max_size=2,
        ),
        "files": st.dictionaries(line.map(lambda name: f"/{name}"), content, max_size=3),
        "commands": st.lists(command, max_size=3),
        "precommands": st.lists(command, max_size=2),
        "disk": st.integers(1, 4096),
    },
)


@given(tdl)
def test_what_is_rendered_reads_back_the_same(data: dict[str, Any]) -> None:
    declared = Tdl.declare(data)
    name, read = parse(render("web", declared, declared.secrets()))
    assert name == "web"
    assert read == declared
    assert read.essence() == declared.essence()


@given(tdl)
def test_secrets_are_starred(data: dict[str, Any]) -> None:
    declared = Tdl.declare(data)
    root = ET.fromstring(shown("web", declared))
    assert {root.findtext("os/rootpw"), root.findtext("os/key")} <= {None, "********"}


def test_text_that_oz_or_xml_would_change_goes_as_base64() -> None:
    files = {"/a": "plain", "/b": " edge\n", "/c": "bell\a", "/d": "dos\r\n", "/e": ""}
    root = ET.fromstring(render("web", Tdl.declare({**MINIMAL, "files": files}), {}))
    assert [(f.get("type"), f.text) for f in root.iter("file")] == [
        ("raw", "plain"),
        ("base64", "IGVkZ2UK"),
        ("base64", "YmVsbAc="),
        ("base64", "ZG9zDQo="),
        ("raw", None),
    ]


def test_rendered_as_documented() -> None:
    declared = Tdl.declare(
        {**MINIMAL, "rootpw": "secret<b", "disk": "2T", "commands": ["true", {"url": "http://h/x"}]}
    )
    assert render("f23", declared, declared.secrets()) == (
        '<template version="1.0">\n'
        "  <name>f23</name>\n"
        "  <os>\n"
        "    <name>Fedora</name>\n"
        "    <version>23</version>\n"
        "    <arch>x86_64</arch>\n"
        '    <install type="url">\n'
        "      <url>http://install.example/f23/</url>\n"
        "    </install>\n"
        "    <rootpw>secret&lt;b</rootpw>\n"
        "  </os>\n"
        "  <commands>\n"
        '    <command name="command-1" position="1" type="raw">true</command>\n'
        '    <command name="command-2" position="2" type="url">http://h/x</command>\n'
        "  </commands>\n"
        "  <disk>\n"
        "    <size>2048</size>\n"
        "  </disk>\n"
        "</template>\n"
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"version": 10.10},
            "tdl.version: 10.1 is a number to YAML, which drops trailing zeros; put it in quotes",
        ),
        ({"version": True}, "tdl.version: is not text"),
        ({"os": "a\nb"}, "tdl.os: is not one line of text without white space at its ends"),
        ({"arch": "mips"}, "tdl.arch: 'mips' is not valid, input should be 'i386', 'x86_64', 'ppc64'"),
        ({"install": {}}, "tdl.install: needs exactly one of url and iso"),
        (
            {"install": {"url": "http://h/", "iso": "http://h/a"}},
            "tdl.install: needs exactly one of url and iso",
        ),
        ({"install": {"type": "iso", "url": "http://h/"}}, "tdl.install: type is iso, but url is given"),
        ({"install": {"url": "http://localhost:80/"}}, "is the guest itself when the guest fetches it"),
        ({"install": {"url": "http://h/", "md5sum": "http://h/s"}}, "checksums and extras go with iso"),
        ({"install": {"iso": "http://h/a", "md5sum": "http://h/s", "sha1sum": "http://h/t"}}, "takes one of"),
        ({"install": {"url": "h/f23"}}, "tdl.install.url: is not a URL (http, https, ftp or file)"),
        ({"install": {"url": "http://me:pw@h/"}}, "tdl.install.url: holds a user or password"),
        ({"install": {"url": "http://h/ä.iso"}}, "tdl.install.url: holds 'ä'; write %C3%A4"),
        ({"install": {"url": "http://h/a b"}}, "tdl.install.url: holds ' '; write %20"),
        ({"install": {"url": "http://a..b/"}}, "tdl.install.url: names the host 'a..b', which no host can"),
        ({"install": {"url": f"http://{'a' * 64}.b/"}}, "which no host can have as its name"),
        ({"install": {"url": "http://h:port/"}}, "tdl.install.url: names a port that is not a number"),
        ({"rootpw": "12345"}, "tdl.rootpw: is shorter than 6 characters"),
        ({"disk": "512M"}, "tdl.disk: '512M' is not a disk size in whole GiB (10, 10G, 2T)"),
        ({"disk": 0}, "tdl.disk: 0 is not a disk size"),
        ({"commands": [" "]}, "tdl.commands[0]: is empty, which oz refuses"),
        ({"commands": "true"}, "tdl.commands:"),
        ({"files": {"motd": "x"}}, "tdl.files.motd: 'motd' is not an absolute path"),
        ({"files": {"/a": {"base64": "?"}}}, "tdl.files./a: base64 is not valid"),
        ({"files": {"/a": {"raw": "x", "url": "http://h/"}}}, "needs exactly one of raw, base64 and url"),
        ({"packages": [{"repository": "x"}]}, "tdl.packages[0].name: is required"),
        ({"icicle": {}}, "tdl.icicle: unknown key"),
    ],
)
def test_bad_declarations(change: dict[str, Any], said: str) -> None:
    with pytest.raises(Invalid) as raised:
        Tdl.declare({**MINIMAL, **change}, at="tdl")
    assert said in str(raised.value)
    assert "me:pw" not in str(raised.value)
    assert "12345" not in str(raised.value)


def test_a_wrong_password_is_not_shown() -> None:
    with pytest.raises(Invalid) as raised:
        Tdl.declare({**MINIMAL, "rootpw": "secret\n"}, at="tdl")
    assert "secret" not in str(raised.value)


def test_base64_of_text_is_the_text() -> None:
    assert Content.model_validate({"base64": "aGk="}) == Content.model_validate("hi")
    assert Content.model_validate({"base64": "/w=="}).base64 == "/w=="


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<template>", "template: is not XML"),
        ("<template><os><name>a</name><icicle/></os></template>", "template.icicle: unknown key"),
        ("<template><colour>red</colour></template>", "template.colour: unknown key"),
    ],
)
def test_a_tdl_with_more_than_a_declaration_can_say(text: str, said: str) -> None:
    with pytest.raises(Invalid) as raised:
        parse(text)
    assert said in str(raised.value)
