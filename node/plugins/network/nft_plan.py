"""A part of an nftables table as data, and the script that turns one state of it into another.

A table has a skeleton (base chains, maps, types) that never changes, and fragments: what one owner (a port, a
security group, a router) put into it. Changes are scripts of element and chain commands, so that one change costs
what it touches; the kernel takes each script whole or not at all.
"""

from collections.abc import Iterable, Mapping

from node.sdk import Frozen


class NftSet(Frozen):
    """A named set: its type text, for example `type ipv4_addr`, and its elements."""

    spec: str
    elements: frozenset[str] = frozenset()


class Fragment(Frozen):
    """What one owner has in a table."""

    sets: dict[str, NftSet] = {}
    chains: dict[str, tuple[str, ...]] = {}
    """Rules by chain."""
    elements: dict[str, dict[str, str]] = {}
    """For each map of the skeleton: value by key. An empty value: the map is a set."""


class TableSpec(Frozen):
    """A table: `bridge`, `inet` or `ip`, its name, and what stands in its braces from the beginning."""

    family: str
    name: str
    skeleton: str

    @property
    def path(self) -> str:
        """Return `family name`, as commands name it."""
        return f"{self.family} {self.name}"


EMPTY = Fragment()


def full_script(spec: TableSpec, fragments: Iterable[Fragment]) -> str:
    """Return the script that makes the table from nothing, whatever is there now."""
    lines = [
        f"add table {spec.path}",
        f"delete table {spec.path}",
        f"table {spec.path} {{",
        spec.skeleton,
        "}",
    ]
    listed = list(fragments)
    for step in (_make_sets, _make_chains, _fill_chains, _add_elements):
        for fragment in listed:
            lines.extend(step(spec, EMPTY, fragment))
    return "\n".join(lines) + "\n"


def change_script(spec: TableSpec, changes: Iterable[tuple[Fragment, Fragment]]) -> str:
    """Return the script that turns each old fragment into its new one; empty when nothing differs."""
    listed = [(old, new) for old, new in changes if old != new]
    lines: list[str] = []
    for step in (_drop_elements, _make_sets, _make_chains, _fill_chains, _add_elements):
        for old, new in listed:
            lines.extend(step(spec, old, new))
    # What goes is emptied before it is removed: chains and sets that refer to each other would be in use otherwise.
    for old, new in listed:
        lines.extend(
            f"flush chain {spec.path} {name}"
            for name in sorted(old.chains.keys() - new.chains.keys())
        )
    for old, new in listed:
        lines.extend(
            f"delete chain {spec.path} {name}"
            for name in sorted(old.chains.keys() - new.chains.keys())
        )
        lines.extend(
            f"delete set {spec.path} {name}" for name in sorted(old.sets.keys() - new.sets.keys())
        )
    return "\n".join(lines) + "\n" if lines else ""


def _drop_elements(spec: TableSpec, old: Fragment, new: Fragment) -> Iterable[str]:
    for name, elements in sorted(old.elements.items()):
        kept = new.elements.get(name, {})
        gone = sorted(key for key, value in elements.items() if kept.get(key) != value)
        if gone:
            yield f"delete element {spec.path} {name} {{ {', '.join(gone)} }}"
    for name, old_set in sorted(old.sets.items()):
        new_set = new.sets.get(name)
        removed = old_set.elements - new_set.elements if new_set else frozenset()
        if removed:
            yield f"delete element {spec.path} {name} {{ {', '.join(sorted(removed))} }}"


def _make_sets(spec: TableSpec, old: Fragment, new: Fragment) -> Iterable[str]:
    for name, new_set in sorted(new.sets.items()):
        old_set = old.sets.get(name)
        if old_set is None:
            yield f"add set {spec.path} {name} {{ {new_set.spec} ; }}"
        added = new_set.elements - (old_set.elements if old_set else frozenset())
        if added:
            yield f"add element {spec.path} {name} {{ {', '.join(sorted(added))} }}"


def _make_chains(spec: TableSpec, old: Fragment, new: Fragment) -> Iterable[str]:
    for name in sorted(new.chains.keys() - old.chains.keys()):
        yield f"add chain {spec.path} {name}"


def _fill_chains(spec: TableSpec, old: Fragment, new: Fragment) -> Iterable[str]:
    for name, rules in sorted(new.chains.items()):
        if old.chains.get(name) == rules:
            continue
        if name in old.chains:
            yield f"flush chain {spec.path} {name}"
        for rule in rules:
            yield f"add rule {spec.path} {name} {rule}"


def _add_elements(spec: TableSpec, old: Fragment, new: Fragment) -> Iterable[str]:
    for name, elements in sorted(new.elements.items()):
        had = old.elements.get(name, {})
        added = [
            f"{key} : {value}" if value else key
            for key, value in sorted(elements.items())
            if had.get(key) != value
        ]
        if added:
            yield f"add element {spec.path} {name} {{ {', '.join(added)} }}"


def sizes(fragments: Mapping[str, Fragment]) -> dict[str, int]:
    """Return how many rules each chain and how many elements each set and map of the fragments holds."""
    found: dict[str, int] = {}
    for fragment in fragments.values():
        for name, rules in fragment.chains.items():
            found[f"chain {name}"] = len(rules)
        for name, one in fragment.sets.items():
            found[f"elements {name}"] = len(one.elements)
        for name, elements in fragment.elements.items():
            found[f"elements {name}"] = found.get(f"elements {name}", 0) + len(elements)
    return found
