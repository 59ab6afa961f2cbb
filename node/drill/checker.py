"""Say whether a history could have come from one machine that does one thing after the other and forgets nothing.

Lists and registers tell their own order: a list by its elements, a register by its versions. So no search is needed.
Walking that order, nothing may have ended before something earlier in the order was even begun. What has no such
order (does a thing of this name exist, how many are there) is looked through in `search`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from node.drill.history import Operation
from node.types import Frozen

Finals = Mapping[str, Mapping[str, Sequence[str]]]
"""What each node holds in the end: node → thing → elements of a list, or version and value of a register."""


class Violation(Frozen):
    """Something that no such machine does."""

    thing: str
    what: str


class _Step(Frozen):
    """An operation at its place: a write's is its position, a read's that of the last write that it saw."""

    place: int
    is_read: bool
    operation: Operation


def check_lists(history: Iterable[Operation], finals: Finals) -> list[Violation]:
    """Check things whose writes append a unique element and whose reads see all elements."""
    things = _by_thing(history)
    found = _differences(finals)
    for thing in sorted({*things, *(name for held in finals.values() for name in held)}):
        final = _longest(finals, thing)
        found += [
            Violation(thing=thing, what=what) for what in _list_faults(things.get(thing, []), final)
        ]
    return found


def check_registers(history: Iterable[Operation], finals: Finals) -> list[Violation]:
    """Check things whose writes replace version N by N + 1, and whose reads see a version and its value."""
    things = _by_thing(history)
    found = _differences(finals)
    for thing in sorted({*things, *(name for held in finals.values() for name in held)}):
        final = _longest(finals, thing)
        found += [
            Violation(thing=thing, what=what)
            for what in _register_faults(things.get(thing, []), final)
        ]
    return found


def _by_thing(history: Iterable[Operation]) -> dict[str, list[Operation]]:
    things: dict[str, list[Operation]] = defaultdict(list)
    for operation in history:
        things[operation.thing].append(operation)
    return things


def _longest(finals: Finals, thing: str) -> Sequence[str]:
    return max((held.get(thing, ()) for held in finals.values()), key=len, default=())


def _differences(finals: Finals) -> list[Violation]:
    """Return where two nodes do not hold the same."""
    found = []
    for thing in sorted({name for held in finals.values() for name in held}):
        held = {node: tuple(things.get(thing, ())) for node, things in finals.items()}
        if len(set(held.values())) > 1:
            sizes = ", ".join(f"{node}: {len(some)}" for node, some in sorted(held.items()))
            found.append(Violation(thing=thing, what=f"nodes differ in the end ({sizes})"))
    return found


# -- lists


def _list_faults(operations: Sequence[Operation], final: Sequence[str]) -> list[str]:
    place = {element: number for number, element in enumerate(final, 1)}
    faults = [
        f"{element} is in it {count} times"
        for element, count in Counter(final).items()
        if count > 1
    ]
    appends = {one.value: one for one in operations if one.action == "append"}
    faults += [f"{element} was never written" for element in final if element not in appends]
    steps = []
    for one in appends.values():
        if one.outcome == "ok" and one.value not in place:
            faults.append(f"{one.value} was acknowledged by {one.node} and is lost")
        if one.outcome == "refused" and one.value in place:
            faults.append(f"{one.value} was refused by {one.node} and is there")
        if one.value in place:
            steps.append(_Step(place=place[one.value], is_read=False, operation=one))
    reads = [one for one in operations if one.action == "read" and one.outcome == "ok"]
    for one in reads:
        if tuple(final[: len(one.seen)]) != one.seen:
            faults.append(f"a read of {one.node} saw what never was: {_odd(one.seen, final)}")
        elif not one.is_local:
            steps.append(_Step(place=len(one.seen), is_read=True, operation=one))
    faults += _backwards([(len(one.seen), one) for one in reads if one.is_local])
    return faults + _walk(steps)


def _odd(seen: Sequence[str], final: Sequence[str]) -> str:
    """Say where a read leaves the final list."""
    at = next(
        (n for n, pair in enumerate(zip(seen, final, strict=False)) if pair[0] != pair[1]),
        len(final),
    )
    there = final[at] if at < len(final) else "nothing"
    return f"{seen[at]} at {at}, where {there} is"


# -- registers


def _register_faults(operations: Sequence[Operation], final: Sequence[str]) -> list[str]:
    writes = {one.value: one for one in operations if one.action == "write"}
    values: dict[int, set[str]] = defaultdict(set)
    steps, faults = [], []
    for one in writes.values():
        if one.outcome == "ok":
            values[one.version + 1].add(one.value)
            steps.append(_Step(place=one.version + 1, is_read=False, operation=one))
    sightings = [one for one in operations if one.action == "read" and one.outcome == "ok"]
    seen_by = [(one.version, one.seen[0], one.node) for one in sightings if one.seen]
    if final and final[1]:
        seen_by.append((int(final[0]), final[1], "the end"))
    sure = set(steps)
    for version, value, where in seen_by:
        values[version].add(value)
        writer = writes.get(value)
        if version == 0:
            continue
        if writer is None:
            faults.append(f"{where} saw {value} in version {version}, which nobody wrote")
        elif writer.outcome == "refused":
            faults.append(f"{where} saw {value}, which {writer.node} had refused")
        elif writer.version + 1 != version:
            faults.append(f"{where} saw {value} as version {version}, not {writer.version + 1}")
        else:
            sure.add(_Step(place=version, is_read=False, operation=writer))
    faults += [
        f"version {version} has {len(some)} values: {', '.join(sorted(some))}"
        for version, some in sorted(values.items())
        if len(some) > 1
    ]
    last = int(final[0]) if final else 0
    faults += [
        f"{', '.join(sorted(some))} was acknowledged as version {version} and is lost: the last is {last}"
        for version, some in sorted(values.items())
        if version > last
    ]
    faults += _backwards([(one.version, one) for one in sightings if one.is_local])
    reads = [
        _Step(place=one.version, is_read=True, operation=one)
        for one in sightings
        if not one.is_local
    ]
    return faults + _walk([*sure, *reads])


# -- time


def _walk(steps: Iterable[_Step]) -> list[str]:
    """Walk in the order of things; an operation must not have ended before an earlier one was begun."""
    faults = []
    latest: Operation | None = None  # of all earlier ones, the one begun last
    ordered = sorted(steps, key=lambda step: (step.place, step.is_read, step.operation.invoked_s))
    for step in ordered:
        one = step.operation
        if latest is not None and one.ended_s < latest.invoked_s:
            faults.append(
                f"{_name(one)} by client {one.client} at {one.node} ended at {one.ended_s:.3f}, but comes after "
                f"{_name(latest)} at {latest.node}, which began at {latest.invoked_s:.3f}"
            )
        if latest is None or one.invoked_s > latest.invoked_s:
            latest = one
    return faults


def _backwards(reads: Iterable[tuple[int, Operation]]) -> list[str]:
    """Return local reads that saw less than one of the same node that had ended before they began."""
    faults = []
    by_node: dict[str, list[tuple[int, Operation]]] = defaultdict(list)
    for place, one in reads:
        by_node[one.node].append((place, one))
    for node, some in by_node.items():
        ended = sorted(some, key=lambda pair: pair[1].returned_s)
        most, at = 0, 0
        for place, one in sorted(some, key=lambda pair: pair[1].invoked_s):
            while at < len(ended) and ended[at][1].returned_s < one.invoked_s:
                most = max(most, ended[at][0])
                at += 1
            if place < most:
                faults.append(f"{node} went back: it showed {most}, then {place}")
    return faults


def _name(one: Operation) -> str:
    return (
        f"{one.action} {one.value}".strip()
        if one.value
        else f"{one.action} of {len(one.seen) or one.version}"
    )
