"""Gauges as Prometheus reads them.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

import logging
import re
from collections.abc import Iterable, Mapping

log = logging.getLogger("hedgerow.metrics")

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
PREFIX = "hedgerow_"


def exposition(sources: Iterable[tuple[str, Mapping[str, float]]]) -> str:
    """Return the text format of (plugin, gauges by name) pairs; names get the prefix where they lack it.

    A name that Prometheus would refuse, or that two plugins give, is logged and left out.
    """
    gauges: dict[str, float] = {}
    for plugin, given in sources:
        for name, value in given.items():
            full = name if name.startswith(PREFIX) else PREFIX + name
            if not _NAME.fullmatch(full) or full in gauges:
                log.warning("plugin %s gives a gauge that cannot be shown: %s", plugin, name)
                continue
            gauges[full] = float(value)
    lines = (f"# TYPE {name} gauge\n{name} {value!r}\n" for name, value in sorted(gauges.items()))
    return "".join(lines)
