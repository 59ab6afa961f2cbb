"""Loads tables into the kernel: one atomic `nft -f -` a change, and a check that the kernel still holds them.

What was loaded is remembered, so that a change is a difference. The memory is worth nothing after somebody else's
`nft flush ruleset`: `verify` compares the kernel's listing with it and loads the whole table again where they differ.
"""

import contextlib
import logging
import subprocess
import threading
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from node.plugins.network.drivers.namespaces import Namespaces
from node.plugins.network.nft_plan import (
    EMPTY,
    Fragment,
    TableSpec,
    change_script,
    full_script,
    sizes,
)

log = logging.getLogger("hedgerow.network")

_TIMEOUT_S = 60


class NftError(Exception):
    """nft refused a script."""


class NftTable:
    """One table in one namespace ("": the node's own)."""

    def __init__(self, spec: TableSpec, namespaces: Namespaces, namespace: str = "") -> None:
        self.spec = spec
        self._namespaces = namespaces
        self._namespace = namespace
        self._fragments: dict[str, Fragment] = {}
        self._loaded = False
        self._lock = threading.RLock()

    @property
    def loaded(self) -> bool:
        """Return whether the table was loaded by this process."""
        return self._loaded

    def fragment(self, owner: str) -> Fragment | None:
        """Return what an owner has in the table."""
        return self._fragments.get(owner)

    def owners(self) -> set[str]:
        """Return who has something in the table."""
        return set(self._fragments)

    def load(self, fragments: Mapping[str, Fragment]) -> None:
        """Replace the whole table in one step.

        Raises:
            NftError: nft refused it; nothing changed.
        """
        with self._lock:
            self._run(full_script(self.spec, fragments.values()))
            self._fragments = dict(fragments)
            self._loaded = True

    def accepts(self, fragments: Iterable[Fragment]) -> bool:
        """Return whether nft would take a table with these fragments."""
        try:
            self._nft("-c", "-f", "-", script=full_script(self.spec, fragments))
        except NftError:
            return False
        return True

    def apply(self, changes: Mapping[str, Fragment | None]) -> bool:
        """Give owners new fragments (None: nothing any more) in one step; say whether anything changed.

        Raises:
            NftError: nft refused it; nothing changed.
        """
        with self._lock:
            if not self._loaded:
                self.load(
                    {**self._fragments, **{k: v for k, v in changes.items() if v is not None}}
                )
                return True
            pairs = [
                (self._fragments.get(owner, EMPTY), new or EMPTY) for owner, new in changes.items()
            ]
            script = change_script(self.spec, pairs)
            if script:
                try:
                    self._run(script)
                except NftError:
                    self._loaded = (
                        False  # the kernel may have lost what we think it has: next time load all
                    )
                    if self._intact():
                        self._loaded = True
                        raise
                    self.load(
                        {**self._fragments, **{k: v for k, v in changes.items() if v is not None}}
                    )
            for owner, new in changes.items():
                if new is None:
                    self._fragments.pop(owner, None)
                else:
                    self._fragments[owner] = new
            return bool(script)

    def verify(self) -> bool:
        """Load the table again where the kernel's differs from what was loaded; say whether it was as it should be."""
        with self._lock:
            if self._loaded and self._intact():
                return True
            if self._loaded:
                log.warning(
                    "nft table %s was changed by somebody else, loading it again", self.spec.path
                )
            self.load(self._fragments)
            return False

    def remove(self) -> None:
        """Remove the table."""
        with self._lock:
            self._fragments = {}
            self._loaded = False
            self._run(f"add table {self.spec.path}\ndelete table {self.spec.path}\n")

    def listing(self) -> list[dict[str, Any]]:
        """Return the kernel's listing, one object a thing; empty when there is no such table."""
        try:
            text = self._nft("-j", "list", "table", *self.spec.path.split())
        except NftError:
            return []
        found: list[dict[str, Any]] = msgspec.json.decode(text)["nftables"]
        return found

    def _intact(self) -> bool:
        have: dict[str, int] = {}
        for thing in self.listing():
            for kind in ("set", "map"):
                if kind in thing:
                    have[f"elements {thing[kind]['name']}"] = len(thing[kind].get("elem", []))
            if "chain" in thing:
                have.setdefault(f"chain {thing['chain']['name']}", 0)
            if "rule" in thing:
                name = f"chain {thing['rule']['chain']}"
                have[name] = have.get(name, 0) + 1
        if not have:
            return False
        return all(have.get(name) == count for name, count in sizes(self._fragments).items())

    def _run(self, script: str) -> None:
        self._nft("-f", "-", script=script)

    def _nft(self, *args: str, script: str = "") -> str:
        def call() -> "subprocess.CompletedProcess[str]":
            return subprocess.run(
                ["nft", *args],
                input=script,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                check=False,
            )

        done = self._namespaces.run(self._namespace, call)
        if done.returncode:
            raise NftError(
                f"nft refused a change of table {self.spec.path}: {done.stderr.strip()[:2000]}"
            )
        return done.stdout


def flush_connections(namespaces: Namespaces, namespace: str, filters: list[list[str]]) -> None:
    """Forget tracked connections: each filter is arguments of `conntrack -D`. None found is no error."""

    def call() -> None:
        for arguments in filters:
            with contextlib.suppress(subprocess.TimeoutExpired):
                subprocess.run(
                    ["conntrack", "-D", *arguments],
                    capture_output=True,
                    timeout=_TIMEOUT_S,
                    check=False,
                )

    if filters:
        namespaces.run(namespace, call)


def listed_chains() -> list[dict[str, Any]]:
    """Return the chains of the node's own namespace, as nft lists them; empty when it cannot."""
    argv = ["nft", "-j", "list", "chains"]
    done = subprocess.run(argv, capture_output=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode:
        return []
    listed: list[dict[str, Any]] = msgspec.json.decode(done.stdout)["nftables"]
    return [thing["chain"] for thing in listed if "chain" in thing]
