"""Loads plugins: built-ins, installed ones (entry points) and one-file ones, all through the same seam.

A plugin that cannot be loaded, that names a hook that does not exist, or whose hook fails or gives what it must not, is
left out there and reported; it never takes the node down.
"""

import functools
import importlib
import importlib.metadata
import importlib.util
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pluggy

from node import hookspecs
from node.api.route import Service
from node.config import BUILTIN_SECTIONS
from node.control.reconciler import Reconciler
from node.errors import NodeError
from node.state.row import Row
from node.types import Frozen

log = logging.getLogger("hedgerow.plugins")

BUILTIN = (
    "node.plugins.identity",
    "node.plugins.image",
    "node.plugins.network",
    "node.plugins.compute",
    "node.plugins.object",
    "node.plugins.block",
)


_MAPPINGS = frozenset({"config_sections", "node_facts", "metrics"})
_LISTS = frozenset({"row_types", "services", "reconcilers", "seed_rows", "health"})
_BETWEEN_PLUGINS = (
    "token_verify", "port_plan", "port_bind", "port_states", "metadata_of", "images", "volumes",
    "placement_filter", "placement_weigh", "cli",
)  # fmt: skip
"""Hooks that requests and other plugins call straight: what goes wrong in a stranger's must not be theirs."""


class PluginReport(Frozen):
    """What became of one plugin."""

    name: str
    source: str
    """builtin, entry point or the file's path."""
    error: str = ""
    """Empty: it is loaded."""
    hooks: tuple[str, ...] = ()


class PluginHost:
    """The plugin manager and the reports of what was loaded."""

    def __init__(self) -> None:
        self.manager = pluggy.PluginManager(hookspecs.PROJECT)
        self.manager.add_hookspecs(hookspecs)
        self.reports: list[PluginReport] = []
        self._note: Callable[[PluginReport], None] = lambda _report: None

    @property
    def hook(self) -> Any:
        """Call all plugins: `host.hook.row_types()`."""
        return self.manager.hook

    def load(self, *, directory: Path | None = None, blocked: Iterable[str] = ()) -> None:
        """Load the built-in plugins, then those installed, then the files of a directory."""
        refused = set(blocked)
        for name in BUILTIN:
            short = name.rpartition(".")[2]
            if short not in refused:
                self._attempt(short, "builtin", lambda name=name: importlib.import_module(name))
        for entry in importlib.metadata.entry_points(group=hookspecs.PROJECT):
            if entry.name not in refused:
                self._attempt(entry.name, "entry point", entry.load)
        if directory is not None and directory.is_dir():
            for path in sorted(directory.glob("*.py")):
                if path.stem not in refused:
                    self._attempt(path.stem, str(path), lambda path=path: _from_file(path))

    def add(self, plugin: Any, name: str = "") -> None:
        """Register a plugin object that is loaded already.

        Raises:
            pluggy.PluginValidationError: it implements a hook that does not exist.
        """
        self.manager.register(plugin, name or None)
        try:
            self.manager.check_pending()
        except pluggy.PluginValidationError:
            self.manager.unregister(plugin)
            raise

    def _attempt(self, name: str, source: str, load: Any) -> None:
        try:
            plugin = load()
            self.add(plugin, name)
        except (Exception, SystemExit) as error:
            log.exception("plugin %s cannot be loaded", name)
            self.report(name, source, error)
            return
        callers = self.manager.get_hookcallers(plugin) or []
        hooks = tuple(sorted(caller.name for caller in callers))
        self.reports.append(PluginReport(name=name, source=source, hooks=hooks))
        if source != "builtin":
            self._guard(name, plugin)

    def _guard(self, name: str, plugin: Any) -> None:
        """Have a stranger's hook that fails count as one that does not know."""

        def guarded(hook: str, function: Any) -> Any:
            @functools.wraps(function)
            def call(*arguments: Any) -> Any:
                try:
                    return function(*arguments)
                except NodeError:
                    raise
                except Exception as error:
                    log.exception("plugin %s failed in %s", name, hook)
                    self.report(name, f"hook {hook}", error)
                    return None

            return call

        for hook in _BETWEEN_PLUGINS:
            for found in getattr(self.hook, hook).get_hookimpls():
                if found.plugin is plugin:
                    found.function = guarded(hook, found.function)

    def report(self, name: str, source: str, error: BaseException) -> None:
        """Keep what is wrong with a plugin; a newer error of the same source replaces the older one."""
        self._clear(name, source)
        text = f"{type(error).__name__}: {error}"
        report = PluginReport(name=name, source=source, error=text)
        self.reports.append(report)
        self._note(report)

    def notice_to(self, note: Callable[[PluginReport], None]) -> None:
        """Hand on what is wrong, now and from now on."""
        self._note = note
        for report in self.reports:
            if report.error:
                note(report)

    def with_heard(self, heard: Iterable[PluginReport]) -> list[PluginReport]:
        """Return the reports with those of other processes; the last of a source counts, ours are not repeated."""
        ours = {(report.name, report.source, report.error) for report in self.reports}
        others = {
            (report.name, report.source): msgspec.structs.replace(
                report, source=f"API: {report.source}"
            )
            for report in heard
            if (report.name, report.source, report.error) not in ours
        }
        return [*self.reports, *others.values()]

    def _clear(self, name: str, source: str) -> None:
        self.reports[:] = [r for r in self.reports if (r.name, r.source) != (name, source)]

    def gather(self, name: str, **arguments: Any) -> list[tuple[str, Any]]:
        """Call a collecting hook plugin by plugin; one that fails is reported and left out."""
        results = []
        for implementation in getattr(self.hook, name).get_hookimpls():
            wanted = {key: arguments[key] for key in implementation.argnames}
            source = f"hook {name}"
            try:
                result = _checked(name, implementation.function(**wanted))
            except Exception as error:
                log.exception("plugin %s failed in %s", implementation.plugin_name, name)
                self.report(implementation.plugin_name, source, error)
                continue
            self._clear(implementation.plugin_name, source)
            results.append((implementation.plugin_name, result))
        return results

    def services(self) -> list[Service]:
        """Return the services of all plugins; a stranger's that cannot be served beside the others is reported."""
        builtin = {report.name for report in self.reports if report.source == "builtin"}
        kept: list[Service] = []
        for name, some in self.gather("services"):
            if name not in builtin:
                from node.api.app import (
                    try_out,
                )  # falcon, which a core without strangers does not need

                try:
                    try_out([*kept, *some])
                except Exception as error:
                    log.exception("the services of plugin %s cannot be served", name)
                    self.report(name, "hook services", error)
                    continue
            kept.extend(some)
        return kept

    def sections(self) -> dict[str, type[Frozen]]:
        """Return the configuration sections of all plugins."""
        merged: dict[str, type[Frozen]] = {}
        for name, sections in self.gather("config_sections"):
            taken = sorted(set(sections) & {*merged, *BUILTIN_SECTIONS})
            if taken:
                self.report(
                    name,
                    "hook config_sections",
                    ValueError(f"sections are taken: {', '.join(taken)}"),
                )
                continue
            merged.update(sections)
        return merged

    def failures(self) -> Mapping[str, str]:
        """Return what failed, by plugin name."""
        return {report.name: report.error for report in self.reports if report.error}


def _checked(name: str, result: Any) -> Any:
    """Return what a collecting hook gave, as far as its callers rely on it.

    Raises:
        TypeError: says what is wrong.
    """
    if name in _MAPPINGS:
        return dict(result)
    if name not in _LISTS:
        return result
    items = list(result)
    for item in items:
        if not _is_fit(name, item):
            raise TypeError(f"{item!r} is nothing that {name} may give")
    return items


def _is_fit(name: str, item: Any) -> bool:
    match name:
        case "row_types":
            return isinstance(item, type) and issubclass(item, Row) and bool(item.__table__)
        case "services":
            return isinstance(item, Service)
        case "reconcilers":
            return isinstance(item, Reconciler) and isinstance(item.name, str)
        case "health":
            return len(item) == 3
    return True


def _from_file(path: Path) -> ModuleType:
    """Import a one-file plugin under a name of its own."""
    spec = importlib.util.spec_from_file_location(f"hedgerow_plugin_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
