"""What the reconcilers of a node are at, as gauges."""

from collections.abc import Iterable, Mapping

from node.control.runtime import ReconcilerState


def reconciler_gauges(states: Iterable[ReconcilerState]) -> Mapping[str, float]:
    """Return gauges by name, each with the reconciler as its label."""
    gauges: dict[str, float] = {}
    for state in states:
        for name, value in (
            ("ready", state.ready),
            ("delayed", state.delayed),
            ("running", len(state.running)),
            ("looks", state.looks),
            ("failures", len(state.failures)),
            ("paused", state.paused),
        ):
            gauges[f'reconciler_{name}{{reconciler="{state.name}"}}'] = float(value)
    return gauges
