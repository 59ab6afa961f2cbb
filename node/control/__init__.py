"""The control runtime: reconcilers, placement, liveness."""
