"""The closed loop of starts, against a host and guests that are made up, on a clock that is."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from corral.pool.boot import GIVE_UP, Headroom, Limits, Starter

MIB = 1 << 20
ROOMY = Headroom(idle=0.9, memory=1 << 40)
BUSY = Headroom(idle=0.0, memory=1 << 40)
LIMITS = Limits(start=4, max=16, timeout=100, need=100 * MIB)


@dataclass
class World:
    """Guests that get ready, fail or hang so many seconds after their start, on a host with some headroom."""

    fates: dict[str, tuple[str, float]]
    limits: Limits
    host: Headroom = BUSY
    booting: tuple[str, ...] = ()
    now: float = 0.0
    widths: list[int] = field(default_factory=list)
    at_a_time: list[int] = field(default_factory=list)

    def run(self) -> Starter:
        waiting = [name for name in self.fates if name not in self.booting]
        starter = Starter(waiting, self.booting, self.limits, self.now)
        events = {name: self._event(name) for name in self.booting}
        for _ in range(100 * len(self.fates) + 100):
            for name in starter.next(self.now, self.host):
                starter.started(name, self.now)
                events[name] = self._event(name)
            self.widths.append(starter.width)
            self.at_a_time.append(len(starter.booting))
            if starter.done:
                return starter
            self._pass(starter, events)
        raise AssertionError("the loop does not end")

    def _event(self, name: str) -> float:
        fate, after = self.fates[name]
        return self.now + after if fate != "hang" else float("inf")

    def _pass(self, starter: Starter, events: dict[str, float]) -> None:
        """Let time pass until something happens, for a second at most while guests wait."""
        ends = [starter.deadline or float("inf"), *events.values()]
        self.now = min([*ends, self.now + 1] if starter.waiting else ends)
        for name in [name for name, when in events.items() if when <= self.now]:
            del events[name]
            if self.fates[name][0] == "ready":
                starter.up(name, self.now)
            else:
                starter.down(name, "broken", self.now)
        starter.overdue(self.now)


fates = st.tuples(st.sampled_from(["ready", "ready", "ready", "fail", "hang"]), st.floats(0.1, 150))
worlds = st.builds(
    World,
    fates=st.lists(fates, max_size=40).map(lambda some: {f"g{n}": fate for n, fate in enumerate(some)}),
    limits=st.integers(1, 16).flatmap(
        lambda most: st.builds(
            Limits,
            start=st.integers(1, most),
            max=st.just(most),
            timeout=st.just(100),
            need=st.just(100 * MIB),
        )
    ),
    host=st.builds(
        Headroom,
        idle=st.floats(0, 1),
        memory=st.integers(0, 20).map(lambda guests: guests * 100 * MIB),
        tight=st.booleans(),
    ),
)


@given(worlds)
def test_the_loop_ends_and_accounts_for_every_guest(world: World) -> None:
    starter = world.run()
    assert starter.ready | starter.failures.keys() == world.fates.keys()
    assert not starter.ready & starter.failures.keys()


@given(worlds)
def test_the_width_stays_in_its_bounds(world: World) -> None:
    world.run()
    assert all(1 <= width <= world.limits.max for width in world.widths)
    assert all(count <= world.limits.max for count in world.at_a_time)


@given(worlds)
def test_memory_is_never_promised_twice(world: World) -> None:
    world.run()
    assert max(world.at_a_time) * world.limits.need <= world.host.memory


def test_guests_that_get_ready_are_ready() -> None:
    """S0.6: 101 guests, and nothing waits for a clock."""
    world = World({f"g{n}": ("ready", 5.0) for n in range(101)}, LIMITS)
    starter = world.run()
    assert len(starter.ready) == 101
    assert world.now == 26 * 5.0  # four at a time, without a pause in between


def test_idle_cpus_widen() -> None:
    world = World({f"g{n}": ("ready", 30.0) for n in range(101)}, LIMITS, host=ROOMY)
    world.run()
    assert max(world.widths) == LIMITS.max
    assert world.now < 26 * 30.0 / 3


def test_busy_cpus_do_not_widen() -> None:
    world = World({f"g{n}": ("ready", 30.0) for n in range(20)}, LIMITS)
    world.run()
    assert max(world.widths) == LIMITS.start


def test_the_width_goes_back_when_the_cpus_are_busy() -> None:
    starter = Starter([f"g{n}" for n in range(30)], (), LIMITS, 0.0)
    for second in range(1, 6):
        starter.next(float(second), ROOMY)
    assert starter.width == 8
    for second in range(6, 20):
        starter.next(float(second), BUSY)
    assert starter.width == LIMITS.start


def test_what_is_not_known_changes_nothing() -> None:
    starter = Starter([f"g{n}" for n in range(30)], (), LIMITS, 0.0)
    starter.next(1.0, ROOMY)
    starter.next(2.0, ROOMY)
    starter.next(9.0, Headroom(None, 1 << 40))
    assert starter.width == 5


def test_guests_in_time_bring_the_width_back() -> None:
    starter = Starter([f"g{n}" for n in range(8)], (), LIMITS, 0.0)
    starter.next(0.0, BUSY)
    starter.down("g0", "broken", 1.0)
    starter.up("g1", 2.0)
    starter.up("g2", 3.0)
    assert starter.width == LIMITS.start


def test_a_failure_narrows_once_for_those_started_before_it() -> None:
    starter = Starter([f"g{n}" for n in range(8)], (), LIMITS, 0.0)
    assert len(starter.next(1.0, BUSY)) == 4
    starter.down("g0", "broken", 2.0)
    starter.down("g1", "broken", 3.0)
    assert starter.width == 2
    assert starter.next(4.0, BUSY) == ()  # two of the first four still boot


def test_slow_guests_narrow_before_they_are_late() -> None:
    starter = Starter(["a", "b"], (), LIMITS, 0.0)
    starter.next(0.0, BUSY)
    starter.up("a", 51.0)
    starter.up("b", 52.0)
    assert starter.width == 2


def test_tight_memory_narrows() -> None:
    starter = Starter([f"g{n}" for n in range(8)], (), LIMITS, 0.0)
    tight = Headroom(0.9, 1 << 40, tight=True)
    assert len(starter.next(0.0, tight)) == 2
    assert starter.next(1.0, tight) == ()
    assert starter.width == 2
    starter.next(10.0, tight)
    assert starter.width == 1


def test_one_that_hangs_does_not_keep_the_others() -> None:
    world = World({"bad": ("hang", 0), **{f"g{n}": ("ready", 5.0) for n in range(10)}}, LIMITS)
    starter = world.run()
    assert starter.failures == {"bad": "not ready 100 s after its start"}
    assert len(starter.ready) == 10


def test_one_that_is_late_is_ready_after_all() -> None:
    starter = Starter(["slow", "other"], (), LIMITS, 0.0)
    starter.next(0.0, BUSY)
    starter.started("slow", 0.0)
    starter.started("other", 50.0)
    assert starter.overdue(100.0) == ("slow",)
    assert starter.up("slow", 120.0)
    assert (starter.failures, starter.ready) == ({}, {"slow"})


def test_when_all_fail_the_rest_is_not_tried() -> None:
    world = World({f"g{n}": ("hang", 0) for n in range(101)}, LIMITS)
    starter = world.run()
    tried = [name for name, why in starter.failures.items() if not why.startswith("not started")]
    assert len(tried) <= GIVE_UP + LIMITS.start
    assert world.now <= 3 * LIMITS.timeout


def test_a_host_without_memory_says_so() -> None:
    starter = Starter(["a"], (), LIMITS, 0.0)
    assert starter.next(0.0, Headroom(0.9, 50 * MIB)) == ()
    assert starter.done
    why = "not started: 50 MiB of memory are left on the host, and a guest takes 100 MiB"
    assert starter.failures == {"a": why}


def test_guests_that_boot_already_are_waited_for() -> None:
    """A run that was cut off: two were started and had no lease yet."""
    world = World({f"g{n}": ("ready", 5.0) for n in range(6)}, LIMITS, booting=("g0", "g1"))
    assert len(world.run().ready) == 6
    assert world.at_a_time[0] == LIMITS.start


def test_news_of_strangers_is_no_news() -> None:
    starter = Starter(["a"], (), LIMITS, 0.0)
    assert not starter.up("b", 1.0)
    starter.down("b", "broken", 1.0)
    starter.started("b", 1.0)
    assert (starter.ready, starter.failures, starter.deadline) == (set(), {}, None)
