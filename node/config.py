"""Configuration: one INI file, typed sections, unknown keys refused.

Plugins add sections of their own by the hook `config_sections`.
"""

import configparser
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from node.errors import ConfigError
from node.types import Frozen


class NodeSection(Frozen):
    """`[node]`: this node."""

    name: str = ""
    """Host name that the APIs show; empty: the machine's."""
    state_dir: str = "/var/lib/hedgerow"
    """Directory of everything this node stores."""
    region: str = "RegionOne"
    """Region of the catalog."""
    plugin_dir: str = ""
    """Directory of one-file plugins; empty: none. They run as root."""
    block_plugins: str = ""
    """Names of plugins not to load, separated by commas."""


class ApiSection(Frozen):
    """`[api]`: the HTTP side."""

    listen: str = "127.0.0.1"
    """Address of the HTTPS port."""
    port: int = 7443
    """HTTPS port."""
    plain_port: int = 0
    """Plain HTTP port on loopback for tools that cannot take a CA (lab only); 0: none."""
    public_host: str = ""
    """Host name or address in the catalog's URLs; empty: `listen`."""
    workers: int = 2
    """Processes that serve requests."""
    threads: int = 8
    """Threads in each of them."""
    policy_file: str = ""
    """JSON object of policy overrides, name to rule; empty: none."""


class ClusterSection(Frozen):
    """`[cluster]`: this node among others."""

    port: int = 0
    """TCP port for other nodes (mutual TLS); 0: none, this node stays alone."""
    data_port: int = 0
    """TCP port on which other nodes fetch bulk data (mutual TLS); 0: none."""
    listen: str = ""
    """Address of both ports; empty: every address of this machine."""
    address: str = ""
    """Address that other nodes are told; empty: the one of the interface with the default route."""
    token_file: str = ""
    """File that holds a cluster's token; empty: none."""
    alone: bool = True
    """Without a token, make a cluster of one at the first start; no: wait to be approved by a cluster."""
    seeds: str = ""
    """host:port of nodes to ask where multicast does not reach, separated by commas."""
    discovery: bool = True
    """Announce this node, and look for others, by multicast DNS."""
    failure_domain: str = ""
    """What this node fails together with, for example a rack; empty: nothing."""
    voters: int = 5
    """At most so many nodes vote: 1, 3, 5 or 7; all others follow."""
    replace_after_s: int = 600
    """A voter that is away for so long is replaced by another node."""
    log_entries: int = 2000
    """The log is shortened when it has so many entries; a node that is farther behind takes over all rows."""
    virtual_address: str = ""
    """Address with prefix length that one healthy node holds for the API, for example 192.0.2.9/24; empty: none."""


class LogSection(Frozen):
    """`[log]`: what is written where."""

    level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""
    format: str = "json"
    """json (one object a line) or text."""


USUAL_CONFIGS = (
    Path("/etc/hedgerow/hedgerow.ini"),
    Path("/var/lib/hedgerow/lab/hedgerow.ini"),
)
"""Where commands that ask the running node look for its configuration when none is given."""


def _given(
    parser: configparser.ConfigParser, name: str, section_type: type[Frozen]
) -> dict[str, Any]:
    """Return a section's keys; what INI files call true and false is that."""
    given: dict[str, Any] = dict(parser[name])
    for field in msgspec.structs.fields(section_type):
        if field.type is bool and field.name in given:
            text = given[field.name]
            given[field.name] = parser.BOOLEAN_STATES.get(text.lower(), text)
    return given


def usual_config(given: Path | None) -> Path | None:
    """Return the given file, or the first usual one that is there."""
    return given or next((path for path in USUAL_CONFIGS if path.exists()), None)


BUILTIN_SECTIONS: dict[str, type[Frozen]] = {
    "node": NodeSection,
    "api": ApiSection,
    "cluster": ClusterSection,
    "log": LogSection,
}

S = TypeVar("S", bound=Frozen)


class Config:
    """Typed sections by type."""

    def __init__(self, sections: dict[str, Frozen]) -> None:
        self._sections = sections

    def section(self, section_type: type[S]) -> S:
        """Return the section of that type; one that the file does not have holds its defaults."""
        for section in self._sections.values():
            if isinstance(section, section_type):
                return section
        return section_type()

    def items(self) -> list[tuple[str, Frozen]]:
        """Return (name, section) in order of names."""
        return sorted(self._sections.items())

    @property
    def state_dir(self) -> Path:
        """Return the directory of everything this node stores."""
        return Path(self.section(NodeSection).state_dir)


def load(
    path: Path | None,
    extra: dict[str, type[Frozen]] | None = None,
    *,
    others_allowed: bool = False,
) -> Config:
    """Read a configuration file; None means all defaults.

    `others_allowed` skips sections of plugins, for commands that do not load plugins.

    Raises:
        ConfigError: names the file, the section and the key.
    """
    types = {**BUILTIN_SECTIONS, **(extra or {})}
    parser = configparser.ConfigParser(interpolation=None)
    if path is not None:
        try:
            parser.read_string(path.read_text(), source=str(path))
        except (OSError, UnicodeDecodeError, configparser.Error) as error:
            raise ConfigError(f"Cannot read the configuration {path}: {error}") from error
    unknown = set(parser.sections()) - set(types)
    if unknown and not others_allowed:
        raise ConfigError(f"{path} has sections that nothing knows: {', '.join(sorted(unknown))}")
    sections = {}
    for name, section_type in types.items():
        given = _given(parser, name, section_type) if parser.has_section(name) else {}
        extra_keys = set(given) - set(section_type.__struct_fields__)
        if extra_keys:
            raise ConfigError(
                f"{path} [{name}] has keys that nothing knows: {', '.join(sorted(extra_keys))}"
            )
        try:
            sections[name] = msgspec.convert(given, section_type, strict=False)
        except msgspec.ValidationError as error:
            raise ConfigError(f"{path} [{name}]: {error}") from error
    return Config(sections)
