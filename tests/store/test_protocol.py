"""Who changes a store while others write to it: every interleaving of a small model, with a kill at every step.

The model is one task of one group: a root, a file and a flag. A generation is what the root says since it was last
extended, annotated, or rid of annotations; ``CONTENTS[generation]`` is what the file is to hold then, None where there
is no such group. The steps of each program are those of `trajstore.store.handle`, `trajstore.store.write` and
`trajstore.commands.repair`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any, NamedTuple

import pytest

DEAD = -1
DAMAGED = "damaged"


class World(NamedTuple):
    """What is on the disk, and who holds the lock; numbers are those of processes."""

    contents: tuple[str | None, ...]
    generation: int = 0
    data: str | None = None
    flag: bool = False
    exclusive: int | None = None
    shared: frozenset[int] = frozenset()

    @property
    def expected(self) -> str | None:
        """What the file is to hold."""
        return self.contents[self.generation]

    @property
    def lies(self) -> bool:
        """Whether a flag is set over what it does not vouch for; what a disk has damaged is none of ours."""
        return self.flag and self.expected is not None and self.data not in (self.expected, DAMAGED)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to do."""
        return self.expected is None or self.flag


class Seen(NamedTuple):
    """What a process remembers of the world when it last looked."""

    generation: int
    expected: str | None
    data: str | None
    flag: bool


class Process(NamedTuple):
    """Where a process is in its program, and what it remembers."""

    step: int = 0
    seen: Seen | None = None


Step = Callable[[World, Process, int], "tuple[World, Process] | None"]
"""What a process does next; None where it has to wait."""


def follow(world: World, process: Process) -> tuple[World, Process]:
    return world, Process(process.step + 1, process.seen)


def end(world: World, process: Process) -> tuple[World, Process]:
    return world, Process(DEAD)


def look(world: World, process: Process, _: int) -> Any:
    return follow(
        world, Process(process.step, Seen(world.generation, world.expected, world.data, world.flag))
    )


def share(world: World, process: Process, number: int) -> Any:
    if world.exclusive is not None:
        return None
    return follow(world._replace(shared=world.shared | {number}), process)


def hold(world: World, process: Process, number: int) -> Any:
    if world.exclusive is not None or world.shared:
        return None
    return follow(world._replace(exclusive=number), process)


def let_go(world: World, number: int) -> World:
    exclusive = None if world.exclusive == number else world.exclusive
    return world._replace(exclusive=exclusive, shared=world.shared - {number})


def release(world: World, process: Process, number: int) -> Any:
    return follow(let_go(world, number), process)


def change(**fields: Any) -> Step:
    """Change what is on the disk, regardless."""
    return lambda world, process, _: follow(world._replace(**fields), process)


def write(world: World, process: Process, _: int) -> Any:
    """Publish the file as it was to be when the process last looked."""
    assert process.seen is not None
    return follow(world._replace(data=process.seen.expected), process)


def unless(is_in_vain: Callable[[World, Seen], bool], *, clear: bool = False) -> Step:
    """Go on, or end where that is in vain, compared with what was seen; ``clear`` the flag first."""

    def step(world: World, process: Process, number: int) -> Any:
        assert process.seen is not None
        if not is_in_vain(world, process.seen):
            return follow(world, process)
        return end(let_go(world._replace(flag=world.flag and not clear), number), process)

    return step


def is_other(world: World, seen: Seen) -> bool:
    return world.generation != seen.generation


def is_back(world: World, _: Seen) -> bool:
    return world.expected is not None


def has_nothing_to_do(_: World, seen: Seen) -> bool:
    return seen.expected is None or seen.flag


def at_once(first: Step, second: Step) -> Step:
    """Two steps between which nothing that others can do makes a difference."""

    def step(world: World, process: Process, number: int) -> Any:
        moved = first(world, process, number)
        if moved is None or moved[1].step == DEAD:
            return moved
        after = second(moved[0], moved[1], number)
        return after and (
            after[0],
            after[1] if after[1].step == DEAD else Process(process.step + 1, after[1].seen),
        )

    return step


def move_on(world: World, process: Process, _: int) -> Any:
    """Replace the root."""
    return follow(world._replace(generation=world.generation + 1), process)


def is_last(world: World, _: Seen) -> bool:
    return world.generation + 1 == len(world.contents)


@dataclass(frozen=True)
class Protocol:
    """How things are done in a folder, in a bucket, or as they once were.

    Attributes
    ----------
    is_locked : bool
        Whether a check and what follows are one step.
    is_checked : bool
        Whether there are checks at all.
    repair_removes : bool
        Whether a repair removes what is damaged.
    """

    is_locked: bool = True
    is_checked: bool = True
    repair_removes: bool = False

    def guard(self, step: Step, unless_: Step) -> list[Step]:
        """A step that is in vain where a check fails."""
        if not self.is_checked:
            return [step]
        # as long as the lock is shared the root stays, and whoever dies lets go of it
        return [at_once(share, unless_), at_once(step, release)] if self.is_locked else [unless_, step]

    @property
    def build(self) -> list[Step]:
        """Open the store, and write what is missing."""
        return [look, unless(has_nothing_to_do), *self.publish]

    @property
    def publish(self) -> list[Step]:
        """`StoreHandle.publishing`: the file, then its flag."""
        check = unless(is_other, clear=not self.is_locked)
        steps = [*self.guard(write, unless_=check), *self.guard(change(flag=True), unless_=check)]
        if self.is_checked and not self.is_locked:  # what has come in between
            steps += [check, unless(lambda world, seen: world.data != seen.expected, clear=True)]
        return steps

    def update(self, *steps: Step) -> list[Step]:
        """`Storage.update`: the last step replaces the root."""
        if self.is_locked and self.is_checked:
            return [at_once(at_once(hold, look), unless(is_last)), *steps, at_once(move_on, release)]

        def replace_root(world: World, process: Process, number: int) -> Any:
            if self.is_checked and process.seen is not None and is_other(world, process.seen):
                return world, Process(process.step - len(steps) - 2)  # again
            return move_on(world, process, number)

        return [look, unless(is_last), *steps, replace_root]

    @property
    def extend(self) -> list[Step]:
        """`grow_store`, then a build."""
        clear = change(flag=False)
        return [*self.update(clear), *([] if self.is_locked else [clear]), *self.build]

    @property
    def remove(self) -> list[Step]:
        """`drop_annotations`, of one that is there."""
        check = unless(is_back, clear=not self.is_locked)
        return [
            look,
            unless(lambda _, seen: seen.expected is None),
            *self.update(unless(lambda _, seen: seen.expected is None)),
            *self.guard(change(flag=False), unless_=check),
            *self.guard(change(data=None), unless_=check),
            *([check] if self.is_checked and not self.is_locked else []),
        ]

    @property
    def add(self) -> list[Step]:
        """`add_annotations`, of one that is not there, then a build."""
        return [*self.update(unless(is_back), change(flag=False)), *self.build]

    @property
    def repair(self) -> list[Step]:
        """`trajstore.commands.repair`: look, take the flag back, write the file and its flag again."""
        clear = self.guard(change(flag=False), unless_=unless(is_other))
        unlink = [change(data=None)] if self.repair_removes else []
        is_sound = unless(lambda _, seen: seen.expected is None or seen.data != DAMAGED)
        return [look, is_sound, *clear, *unlink, *self.publish]

    @property
    def restore(self) -> list[Step]:
        """And where a file is sound that has no flag."""
        is_done = unless(lambda _, seen: seen.flag or seen.expected is None or seen.data != seen.expected)
        if not self.is_locked:
            return [look, is_done, *self.publish]
        return [look, is_done, *self.guard(change(flag=True), unless_=unless(is_other))]


def advance(world: World, process: Process, program: Sequence[Step], number: int) -> Any:
    """One step of a process; None where it has ended or has to wait."""
    if process.step == DEAD:
        return None
    moved = program[process.step](world, process, number)
    if moved is not None and moved[1].step == len(program):
        moved = end(let_go(moved[0], number), moved[1])
    return moved


def explore(world: World, programs: Sequence[Sequence[Step]], *, kills: bool) -> Iterator[tuple[World, bool]]:
    """All worlds that can come to be, and whether all processes have ended in it."""
    first = (world, (Process(),) * len(programs))
    known, todo = {first}, [first]
    while todo:
        world, processes = todo.pop()
        yield world, all(process.step == DEAD for process in processes)
        is_stuck = True
        for number, (process, program) in enumerate(zip(processes, programs, strict=True)):
            moves = [advance(world, process, program, number)]
            is_stuck &= moves[0] is None
            if kills and process.step != DEAD:
                moves.append(end(let_go(world, number), process))
            for moved in filter(None, moves):
                state = (moved[0], (*processes[:number], moved[1], *processes[number + 1 :]))
                if state not in known:
                    known.add(state)
                    todo.append(state)
        assert not is_stuck or all(process.step == DEAD for process in processes), "all wait for each other"


def run_alone(world: World, program: Sequence[Step]) -> World:
    process = Process()
    while (moved := advance(world, process, program, 0)) is not None:
        world, process = moved
    return world


WORLDS: Mapping[str, World] = {
    "new": World(("44", "60", "75")),
    "finished": World(("44", "60", "75"), data="44", flag=True),
    "damaged": World(("44", "60", "75"), data=DAMAGED, flag=True),
    "unflagged": World(("44", "60", "75"), data="44"),
}
ANNOTATED: Mapping[str, World] = {
    "half": World(("flow", None, "flow", None), data=None),
    "other points": World(("64 points", None, "32 points", None), data="64 points", flag=True),
    "damaged": World(("flow", None, "flow", None), data=DAMAGED, flag=True),
    "never": World((None, "flow", None, "flow"), data="flow", flag=True),
}
COMMANDS = ("build", "extend", "repair", "restore")
ANNOTATING = ("build", "remove", "add", "repair", "restore")
CASES = [
    *((name, WORLDS[name], names) for name in WORLDS for names in combinations_with_replacement(COMMANDS, 3)),
    *(
        (name, ANNOTATED[name], names)
        for name in ANNOTATED
        for names in combinations_with_replacement(ANNOTATING, 3)
    ),
]


def find_lies(
    protocol: Protocol, *, worlds: Collection[str], kills: bool, only_at_the_end: bool
) -> set[tuple[str, tuple[str, ...]]]:
    return {
        (name, names)
        for name, world, names in CASES
        if name in worlds
        and any(
            found.lies
            for found, is_end in explore(world, [getattr(protocol, one) for one in names], kills=kills)
            if is_end or not only_at_the_end
        )
    }


def test_no_flag_lies_in_a_folder_whatever_is_killed_when() -> None:
    protocol = Protocol()
    for name, world, names in CASES:
        ends = set()
        for found, is_end in explore(world, [getattr(protocol, one) for one in names], kills=True):
            assert not found.lies, (name, names, found)
            if is_end:
                ends.add(found)
        for found in ends:
            assert run_alone(found, protocol.build).is_complete, (name, names, found)


def test_no_flag_lies_in_a_bucket_when_all_have_ended() -> None:
    protocol = Protocol(is_locked=False)
    assert (
        find_lies(protocol, worlds=("finished", "other points"), kills=False, only_at_the_end=True) == set()
    )


@pytest.mark.parametrize(
    ("protocol", "names"),
    [
        (Protocol(is_checked=False), ("build", "build", "extend")),
        (Protocol(is_checked=False), ("build", "remove", "add")),
        (Protocol(repair_removes=True), ("build", "repair", "repair")),
    ],
    ids=["no checks", "no checks of annotations", "a repair that removes"],
)
def test_the_model_finds_what_was_wrong(protocol: Protocol, names: tuple[str, ...]) -> None:
    worlds = ("new", "damaged", "half")
    lies = find_lies(protocol, worlds=worlds, kills=True, only_at_the_end=False)
    assert names in {found for _, found in lies}
