"""A bounded capture of DHCP on some devices of this host, in whatever network namespaces (packet(7))."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from corral.diagnose.frames import Seen, parse
from corral.diagnose.places import inside
from corral.errors import Refused

ALL = 0x0003  # ETH_P_ALL: what goes out, too
SIZE = 2048
SOL_PACKET, PACKET_AUXDATA, TP_STATUS_CSUMNOTREADY = 263, 8, 1 << 3  # packet(7); linux/if_packet.h
AUXDATA = struct.Struct("=IIIHHHH")  # tpacket_auxdata
AGAIN_SECONDS = 1.0

Place = tuple[str, str]  # a network namespace as ``corral.topology`` names it, and a device in it
Messages = dict[Place, list[Seen]]


class Capture:
    """Sockets on devices, which take what comes and goes there from when this is made; a context manager.

    places
        The devices.
    mac
        The guest whose messages are wanted.
    """

    def __init__(self, places: Iterable[Place], mac: str) -> None:
        self._mac = mac.lower()
        self._open = contextlib.ExitStack()
        self._sockets: dict[socket.socket, Place] = {}
        self.messages: Messages = {}
        try:
            for place in dict.fromkeys(places):
                one = self._open.enter_context(_socket(*place))
                self._sockets[one] = place
                self.messages[place] = []
        except BaseException:
            self._open.close()
            raise

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def wait(self, seconds: float, enough: Callable[[Messages], bool], nudge: Callable[[], Any]) -> None:
        """Take messages until there are enough, for as long as ``seconds``.

        nudge
            Called at once and every second, to have somebody send something.
        """
        end = time.monotonic() + seconds
        again = time.monotonic()
        while (now := time.monotonic()) < end and not enough(self.messages):
            if now >= again:
                nudge()
                again = now + AGAIN_SECONDS
            ready, _, _ = select.select(list(self._sockets), [], [], max(0.0, min(end, again) - now))
            for one in ready:
                self._take(one)

    def _take(self, one: socket.socket) -> None:
        with contextlib.suppress(OSError):  # its device went down, or away
            frame, told, _, _ = one.recvmsg(SIZE, socket.CMSG_SPACE(AUXDATA.size))
            seen = parse(frame)
            if seen and seen.mac == self._mac:
                self.messages[self._sockets[one]].append(
                    replace(seen, intact=seen.intact or _still_to_be_summed(told))
                )


def _still_to_be_summed(told: Iterable[tuple[int, int, bytes]]) -> bool:
    """Whether the kernel knows that a checksum is still to be computed, by a network card or at the end."""
    for level, kind, data in told:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            return bool(AUXDATA.unpack_from(data)[0] & TP_STATUS_CSUMNOTREADY)
    return False


def _socket(namespace: str, device: str) -> socket.socket:
    def opened() -> socket.socket:
        one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL))
        try:
            one.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
            one.bind((device, ALL))
            one.setblocking(False)
        except OSError:
            one.close()
            raise
        return one

    try:
        return inside(namespace, opened)
    except OSError as failed:
        raise Refused(f"{device} cannot be listened on: {failed.strerror or failed}.") from None
