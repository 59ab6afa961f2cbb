"""A short campaign of kills, hangs and cuts; `python -m tests.block.fire --seconds 600` is a long one."""

from pathlib import Path

import pytest

from tests.block.fire import Campaign

SECONDS = 12.0


@pytest.mark.timeout(400)
@pytest.mark.parametrize("seed", [7])
def test_guests_see_no_error_and_no_wrong_block(place: Path, seed: int) -> None:
    campaign = Campaign(place, seed)
    try:
        campaign.run(SECONDS)
        campaign.finish()
    finally:
        campaign.close()
    assert campaign.writes > 100
