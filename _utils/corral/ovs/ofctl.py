"""The flows and groups of a bridge by ovs-ofctl(8): one look at each beside the declared, and one bundle."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Collection, Container, Iterable, Sequence

from corral.errors import Invalid, NotInstalled, Refused, Unavailable
from corral.ovs import groups as of_groups
from corral.ovs.flows import Difference, as_declared, modern, named, numbered, numbers, parse
from corral.ovs.groups import Groups, Records
from corral.ovs.recorder import group_mods

# A bundle takes OpenFlow 1.4, or 1.3 with an extension that Open vSwitch has (ovs-ofctl(8), --bundle).
BUNDLES = ("OpenFlow14", "OpenFlow13", "OpenFlow15")
# Of groups, 1.5 tells the most: how a bucket is selected.
GROUPS = ("OpenFlow15", "OpenFlow14", "OpenFlow13")
SPOKEN = {"OF1.5": "OpenFlow15", "OF1.4": "OpenFlow14", "OF1.3": "OpenFlow13"}  # as answers name them
DIFFERENT = 2  # exit status of diff-flows


class OpenFlow:
    """A way to the flows and groups of this host's bridges.

    protocols
        The versions of OpenFlow that the bridge is limited to; none: Open vSwitch's default.
    timeout
        Seconds within which ovs-vswitchd must answer.
    """

    def __init__(self, protocols: Iterable[str], timeout: float) -> None:
        self.protocols, self.timeout = tuple(protocols), timeout

    def difference(
        self, bridge: str, declared: Sequence[str], cookie: int, made: Collection[str], there: Container[str]
    ) -> Difference:
        """Return how the flows of a bridge differ from the declared ones.

        made
            The ports that the bridge has or will have.
        there
            Those that it has.

        Raises ``Invalid`` with what ovs-ofctl says about a flow that it cannot read.
        """
        spelt = self.spelt(bridge, declared, made)
        missing = {f'"{name}"' for name in made if name not in there}
        late = dict.fromkeys(flow for flow in spelt if missing & set(re.findall(r'"[^"]+"', flow)))
        text = "".join(f"cookie={cookie:#x},{flow}\n" for flow in spelt if flow not in late)
        done = self._run(bridge, "diff-flows", bridge, "/dev/stdin", text=text)
        if done.returncode not in (0, DIFFERENT):
            raise Unavailable(f"ovs-ofctl cannot compare the flows of {bridge}: {_said(done.stderr)}")
        found = parse(done.stdout)
        return Difference(found.here, {**found.declared, **as_declared(late).declared})

    def spelt(self, bridge: str, declared: Sequence[str], ports: Collection[str]) -> list[str]:
        """Return flows as Open vSwitch will show them, in the words of the version that bundles take.

        One flow can be written in several ways: ``strip_vlan`` is ``pop_vlan`` from OpenFlow 1.1 on,
        ``set_tunnel`` is ``set_field`` from 1.2 on.
        """
        numbered_ports = numbers(declared, ports)
        lines = [numbered(flow, numbered_ports) for flow in declared]
        done = self._run(bridge, "parse-flows", "/dev/stdin", text="".join(f"{line}\n" for line in lines))
        if done.returncode:
            raise self._wrong(bridge, declared, lines, done.stderr)
        shown = [line for line in done.stdout.splitlines() if line.startswith("OFPT_FLOW_MOD")]
        return named("\n".join(map(modern, shown)), numbered_ports).splitlines()

    def groups(
        self, bridge: str, declared: Sequence[str], made: Collection[str], there: bool, records: Records
    ) -> Groups:
        """Return the groups of a bridge beside the declared ones.

        made
            The ports that the bridge has or will have.
        there
            Whether there is such a bridge.
        records
            Whose the groups are.

        Raises ``Invalid`` with what ovs-ofctl says about a group that it cannot read.
        """
        here, version = "", self._group_versions(bridge)[0]
        if there:
            done = self._run(bridge, "dump-groups", bridge, versions=self._group_versions(bridge))
            if done.returncode:
                raise Unavailable(f"ovs-ofctl cannot read the groups of {bridge}: {_said(done.stderr)}")
            here = done.stdout
            version = next((long for short, long in SPOKEN.items() if f"({short})" in here), version)
        if not declared:
            return Groups(of_groups.parse(here), {}, records)
        lines, ports = of_groups.numbered(bridge, declared, made)
        shown, said = group_mods(_program(), version, (f"add {line}" for line in lines), self.timeout)
        if said:
            raise _wrong_group(bridge, declared, _said(said))
        return Groups(of_groups.parse(here), of_groups.spelt(bridge, declared, shown, ports), records)

    def write(
        self, bridge: str, flows: Sequence[str], first: Sequence[str] = (), last: Sequence[str] = ()
    ) -> None:
        """Carry out commands on the flows of a bridge, all of them or none.

        first, last
            Commands on its groups, before those on flows and after them.
        """
        text = "".join(f"{one}\n" for one in (*first, *(f"flow {one}" for one in flows), *last))
        versions = self._group_versions(bridge) if first or last else (self._version(bridge),)
        done = self._run(bridge, "bundle", bridge, "-", text=text, versions=versions)
        if done.returncode:
            what = "groups" if first or last else "flows"
            raise Refused(f"bridges.{bridge}.{what}: ovs-vswitchd refused: {_said(done.stderr)}")

    def _run(
        self, bridge: str, *argv: str, text: str = "", versions: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        command = [
            _program(),
            "--names",
            f"--timeout={max(1, round(self.timeout))}",
            "-O",
            ",".join(versions) or self._version(bridge),
            *argv,
        ]
        try:
            return subprocess.run(
                command,
                input=text,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                check=False,
                timeout=self.timeout + 1,
            )
        except subprocess.TimeoutExpired:
            raise Unavailable(f"ovs-vswitchd has not answered ovs-ofctl within {self.timeout:g} s.") from None

    def _version(self, bridge: str) -> str:
        """Return the version of OpenFlow to speak: flows read in another one are spelt in another way."""
        for version in BUNDLES:
            if not self.protocols or version in self.protocols:
                return version
        raise self._unspoken(bridge, "flows", BUNDLES)

    def _unspoken(self, bridge: str, what: str, versions: Sequence[str]) -> Refused:
        return Refused(
            f"bridges.{bridge}.{what}: {', '.join(versions[:-1])} or {versions[-1]} must be among its"
            f" protocols, since {what} are written in one bundle; it has {', '.join(self.protocols)}."
        )

    def _group_versions(self, bridge: str) -> list[str]:
        """Return the versions of OpenFlow to offer for groups; the best that the bridge has is taken."""
        found = [version for version in GROUPS if not self.protocols or version in self.protocols]
        if not found:
            raise self._unspoken(bridge, "groups", GROUPS)
        return found

    def _wrong(
        self, bridge: str, declared: Sequence[str], lines: Sequence[str], said: str
    ) -> Invalid | Unavailable:
        """Return the error for the first flow that cannot be read; it is not always said which it is."""
        for flow, line in zip(declared, lines, strict=True):
            done = self._run(bridge, "parse-flows", "/dev/stdin", text=f"{line}\n")
            if done.returncode:
                why = _said(done.stderr).removeprefix("/dev/stdin:1: ")
                if why == "no usable protocol":
                    why = (
                        f"{self._version(bridge)} has no such actions for what it matches (a VLAN tag is"
                        f" taken only off frames that are known to have one, by dl_vlan or vlan_tci)"
                    )
                return Invalid(f"bridges.{bridge}.flows: {flow!r} is not a flow: {why}")
        return Unavailable(f"ovs-ofctl cannot read flows: {_said(said)}")


def _program() -> str:
    program = shutil.which("ovs-ofctl")
    if program is None:
        raise NotInstalled("ovs-ofctl is not installed (Debian package openvswitch-switch).")
    return program


def _wrong_group(bridge: str, declared: Sequence[str], said: str) -> Invalid:
    """Return the error for what ovs-ofctl says about the groups, by their line."""
    found = re.match(r"(\d+): (.*)", said)
    if not found:
        return Invalid(f"bridges.{bridge}.groups: {said}")
    number = int(found[1]) - 1
    return Invalid(f"bridges.{bridge}.groups[{number}]: {declared[number]!r} is not a group: {found[2]}")


def _said(text: str) -> str:
    """Return what ovs-ofctl complained of, on one line."""
    return (
        "; ".join(line.removeprefix("ovs-ofctl: ") for line in text.strip().splitlines()) or "no reason given"
    )
