"""The table, printed line by line."""

from cloud import Metered, load_average
from goals import GOALS

HEAD = (
    f"{'figure':<36}{'measured':>11} {'goal':>12} {'[OpenStack]':>12}"
    f"{'our CPU ms':>12}{'client ms':>11}{'load':>6}"
)


class Report:
    """Prints each figure beside its goal."""

    def __init__(self) -> None:
        self.missed: list[str] = []

    def head(self) -> None:
        """Print the head."""
        print(HEAD)
        print("-" * len(HEAD), flush=True)

    def line(self, name: str, value: float, done: Metered, note: str = "") -> None:
        """Print a figure with its CPU milliseconds per request."""
        tail = f"p99 {done.load.percentile_ms(0.99):.1f} ms" if done.load.count >= 100 else ""
        notes = ", ".join(part for part in (tail, note) if part)
        self.plain(name, value, done.server_ms, done.client_ms, notes)

    def plain(
        self,
        name: str,
        value: float,
        server_ms: float | None = None,
        client_ms: float | None = None,
        note: str = "",
    ) -> None:
        """Print a figure."""
        goal = GOALS[name]
        sign = "" if goal.goal is None else ("≥ " if goal.higher else "≤ ") + _short(goal.goal)
        theirs = "" if goal.openstack is None else f"[{_short(goal.openstack)}]"
        line = f"{name:<36}{_short(value):>7} {goal.unit:<6}{sign:>9}{theirs:>13}"
        line += f"{_cell(server_ms):>12}{_cell(client_ms):>11}{load_average():>6.1f}"
        if goal.goal is not None and (value < goal.goal if goal.higher else value > goal.goal):
            self.missed.append(name)
            line += "  MISSED"
        print(line + (f"  {note}" if note else ""), flush=True)

    def note(self, text: str) -> None:
        """Print a remark."""
        print(f"  ({text})", flush=True)


def _short(value: float) -> str:
    return (
        f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
    )


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
