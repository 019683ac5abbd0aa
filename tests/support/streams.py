"""Many numbered UDP flows between two network namespaces, each datagram echoed; who is answered is known."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

from corral import netns
from tests.support.ovs_far import compute_checksums

NEAR, FAR = "tstream0", "tstream1"  # namespaces
ADDRESSES = {NEAR: "198.51.100.1", FAR: "198.51.100.2"}
PORT = 4000
FLOWS = 64
PACE = 0.004  # seconds between a datagram of each flow and the next
PATIENCE = 30.0  # seconds within which an answer must come


@contextlib.contextmanager
def joined(switch: ModuleType, near: str, far: str) -> Iterator[None]:
    """Two namespaces, one plugged into each of two bridges."""
    try:
        for space, bridge in ((NEAR, near), (FAR, far)):
            port = f"p{space}"
            switch.run("ip", "netns", "add", space)
            switch.run("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", space)
            switch.run("ip", "link", "set", port, "up")
            switch.run("ip", "-n", space, "link", "set", "eth0", "up")
            switch.run("ip", "-n", space, "address", "add", f"{ADDRESSES[space]}/24", "dev", "eth0")
            compute_checksums(space, "eth0")
            switch.vsctl("add-port", bridge, port)
        yield
    finally:
        for space in switch.run("ip", "netns", "list").split():
            if space in ADDRESSES:
                switch.run("ip", "netns", "delete", space)


def _sent(device: str) -> int:
    return int(Path(f"/sys/class/net/{device}/statistics/tx_packets").read_text(encoding="ascii"))


class Stream:
    """The flows from one namespace to the other while the context lasts.

    sent, answered
        By flow: the number of its last datagram, and the numbers of those that came back.
    """

    def __init__(self) -> None:
        self.sent = [0] * FLOWS
        self.answered: list[set[int]] = [set() for _ in range(FLOWS)]
        self.news, self.done = threading.Condition(), threading.Event()
        self.server = netns.inside(FAR, self._server)
        self.clients = netns.inside(NEAR, lambda: [self._client() for _ in range(FLOWS)])
        self.threads = [threading.Thread(target=work) for work in (self._echo, self._send, self._receive)]

    def __enter__(self) -> Stream:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        for thread in self.threads:
            thread.join()
        for one in (self.server, *self.clients):
            one.close()

    def goes_on(self) -> None:
        """Return when each flow was answered a datagram that it sends from now on."""
        after = list(self.sent)
        with self.news:
            assert self.news.wait_for(lambda: not self._silent(after), PATIENCE), (
                f"{len(self._silent(after))} of {FLOWS} flows get no answer"
            )

    def _silent(self, after: list[int]) -> list[int]:
        return [flow for flow in range(FLOWS) if max(self.answered[flow], default=0) <= after[flow]]

    def carriers(self, devices: Iterable[str]) -> set[str]:
        """Return the devices over which datagrams go; that LACP speaks once a second does not count."""
        before = {device: _sent(device) for device in devices}
        for _ in range(5):
            self.goes_on()
        return {device for device, count in before.items() if _sent(device) - count > FLOWS // 4}

    def _server(self) -> socket.socket:
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind((ADDRESSES[FAR], PORT))
        return server

    def _client(self) -> socket.socket:
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.connect((ADDRESSES[FAR], PORT))
        return client

    def _echo(self) -> None:
        self.server.settimeout(0.2)
        while not self.done.is_set():
            with contextlib.suppress(TimeoutError):
                self.server.sendto(*self.server.recvfrom(64))

    def _send(self) -> None:
        while not self.done.wait(PACE):
            for flow, client in enumerate(self.clients):
                self.sent[flow] += 1
                with contextlib.suppress(OSError):  # no neighbour yet, or no more
                    client.send(str(self.sent[flow]).encode())

    def _receive(self) -> None:
        with selectors.DefaultSelector() as ready:
            for flow, client in enumerate(self.clients):
                ready.register(client, selectors.EVENT_READ, flow)
            while not self.done.is_set():
                for key, _ in ready.select(0.2):
                    with contextlib.suppress(OSError), self.news:
                        self.answered[key.data].add(int(self.clients[key.data].recv(64)))
                        self.news.notify_all()
