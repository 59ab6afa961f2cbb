"""For all tests: what is drawn is fixed by the commit, so that one that was green stays green.

HEDGEROW_FUZZ_SEED=random lets property tests draw something new each time, for whoever looks for new findings.
"""

import os

from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

settings.register_profile(
    "hedgerow",
    derandomize=os.environ.get("HEDGEROW_FUZZ_SEED") != "random",
    deadline=None,  # other work on the machine must not decide
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("hedgerow")

# Hypothesis draws constants of whatever modules are imported by then, which depends on the tests that ran before.
assert callable(providers._get_local_constants)
providers._get_local_constants = providers.Constants
