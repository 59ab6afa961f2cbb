"""Gauges as Prometheus reads them.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

import logging
import re
from collections.abc import Iterable, Mapping

log = logging.getLogger("hedgerow.metrics")

_LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="[^"\\\n]*"'
_NAME = re.compile(rf"([a-zA-Z_:][a-zA-Z0-9_:]*)(\{{{_LABEL}(?:,{_LABEL})*\}})?")
PREFIX = "hedgerow_"


def exposition(sources: Iterable[tuple[str, Mapping[str, float]]]) -> str:
    """Return the text format of (plugin, gauges by name) pairs; names get the prefix where they lack it.

    A name may carry labels: `jobs{kind="build"}`.

    A name that Prometheus would refuse, or that two plugins give, is logged and left out.
    """
    families: dict[str, dict[str, float]] = {}
    for plugin, given in sources:
        for name, value in given.items():
            found = _NAME.fullmatch(name if name.startswith(PREFIX) else PREFIX + name)
            gauges = families.setdefault(found.group(1), {}) if found else {}
            if found is None or found.group() in gauges:
                log.warning("plugin %s gives a gauge that cannot be shown: %s", plugin, name)
                continue
            gauges[found.group()] = float(value)
    lines = []
    for family, gauges in sorted(families.items()):
        lines.append(f"# TYPE {family} gauge\n")
        lines += [f"{name} {value!r}\n" for name, value in sorted(gauges.items())]
    return "".join(lines)
