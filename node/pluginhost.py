"""Loads plugins: built-ins, installed ones (entry points) and one-file ones, all through the same seam.

A plugin that cannot be loaded, or that names a hook that does not exist, is left out and reported; it never
takes the node down.
"""

import importlib
import importlib.metadata
import importlib.util
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from node import hookspecs
from node.types import Frozen

log = logging.getLogger("hedgerow.plugins")

BUILTIN = (
    "node.plugins.identity",
    "node.plugins.image",
    "node.plugins.network",
    "node.plugins.compute",
)


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
        except Exception as error:
            log.exception("plugin %s cannot be loaded", name)
            self.reports.append(
                PluginReport(name=name, source=source, error=f"{type(error).__name__}: {error}")
            )
            return
        callers = self.manager.get_hookcallers(plugin) or []
        hooks = tuple(sorted(caller.name for caller in callers))
        self.reports.append(PluginReport(name=name, source=source, hooks=hooks))

    def gather(self, name: str, **arguments: Any) -> list[tuple[str, Any]]:
        """Call a collecting hook plugin by plugin; one that raises is reported and left out."""
        results = []
        for implementation in getattr(self.hook, name).get_hookimpls():
            wanted = {key: arguments[key] for key in implementation.argnames}
            try:
                results.append((implementation.plugin_name, implementation.function(**wanted)))
            except Exception as error:
                log.exception("plugin %s failed in %s", implementation.plugin_name, name)
                self.reports.append(
                    PluginReport(
                        name=implementation.plugin_name,
                        source=f"hook {name}",
                        error=f"{type(error).__name__}: {error}",
                    )
                )
        return results

    def sections(self) -> dict[str, type[Frozen]]:
        """Return the configuration sections of all plugins."""
        merged: dict[str, type[Frozen]] = {}
        for _name, sections in self.gather("config_sections"):
            merged.update(sections)
        return merged

    def failures(self) -> Mapping[str, str]:
        """Return what failed, by plugin name."""
        return {report.name: report.error for report in self.reports if report.error}


def _from_file(path: Path) -> ModuleType:
    """Import a one-file plugin under a name of its own."""
    spec = importlib.util.spec_from_file_location(f"hedgerow_plugin_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
