"""The flows of a bridge by ovs-ofctl(8): one look, which compares them with declared ones, and one bundle."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Collection, Container, Iterable, Sequence

from corral.errors import Invalid, NotInstalled, Refused, Unavailable
from corral.ovs.flows import Difference, as_declared, modern, named, numbered, numbers, parse

# A bundle takes OpenFlow 1.4, or 1.3 with an extension that Open vSwitch has (ovs-ofctl(8), --bundle).
BUNDLES = ("OpenFlow14", "OpenFlow13", "OpenFlow15")
DIFFERENT = 2  # exit status of diff-flows


class OpenFlow:
    """A way to the flows of this host's bridges.

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
        late = [flow for flow in spelt if any(f'"{name}"' in flow for name in made if name not in there)]
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
        return [named(modern(line), numbered_ports) for line in shown]

    def write(self, bridge: str, commands: Sequence[str]) -> None:
        """Carry out commands on the flows of a bridge, all of them or none."""
        text = "".join(f"{one}\n" for one in commands)
        done = self._run(bridge, "--bundle", "add-flows", bridge, "-", text=text)
        if done.returncode:
            raise Refused(f"bridges.{bridge}.flows: ovs-vswitchd refused: {_said(done.stderr)}")

    def _run(self, bridge: str, *argv: str, text: str) -> subprocess.CompletedProcess[str]:
        program = shutil.which("ovs-ofctl")
        if program is None:
            raise NotInstalled("ovs-ofctl is not installed (Debian package openvswitch-switch).")
        command = [
            program,
            "--names",
            f"--timeout={max(1, round(self.timeout))}",
            "-O",
            self._version(bridge),
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
        raise Refused(
            f"bridges.{bridge}.flows: {', '.join(BUNDLES[:-1])} or {BUNDLES[-1]} must be among its protocols,"
            f" since flows are written in one bundle; it has {', '.join(self.protocols)}."
        )

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


def _said(text: str) -> str:
    """Return what ovs-ofctl complained of, on one line."""
    return (
        "; ".join(line.removeprefix("ovs-ofctl: ") for line in text.strip().splitlines()) or "no reason given"
    )
