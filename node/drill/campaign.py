"""One drill from beginning to end: load, clients, faults, healing, and the verdict."""

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from node.drill.api_work import Access, ApiClients
from node.drill.checker import Finals, Violation, check_lists, check_registers
from node.drill.faults import Fault, draw, inflict, kinds_for
from node.drill.history import History, Operation
from node.drill.rows_work import Held, RowClients, held_by
from node.drill.search import MOST_TRIED, Step, TooLong, count_step, holder_step, is_linearizable
from node.drill.site import Site
from node.errors import NodeError
from node.ids import RandomIds
from node.types import Frozen

_CALM_S = 3.0
_FEWEST_A_SECOND = 2.0


class Plan(Frozen):
    """What a drill does. The same seed draws the same faults and the same clients' choices."""

    seed: int
    seconds: float = 60.0
    clients: int = 6
    ballast_mib: int = 0
    faults: tuple[str, ...] = ()
    """Kinds to draw from; none: all that the site is able to."""
    settle_s: float = 180.0
    """How long after the last fault every node may take until it takes writes and holds the same as the others."""


class Report(Frozen):
    """How it went."""

    seed: int
    acknowledged: int
    refused: int
    unknown: int
    faults: tuple[str, ...]
    violations: tuple[Violation, ...]
    p50_ms: float
    p99_ms: float
    longest_gap_s: float
    """The longest time in which no write was acknowledged."""
    log_entry: int
    undecided: int = 0
    """Of how many things too much overlapped for a verdict."""

    @property
    def passed(self) -> bool:
        """Return whether nothing was found."""
        return not self.violations


def run(
    site: Site,
    plan: Plan,
    say: Callable[[str], None],
    keep: Path | None = None,
    access: Access | None = None,
) -> Report:
    """Run a drill and judge it; `keep` is where the history is written. With `access` the API is used too.

    Raises:
        DrillFault: the drill itself cannot go on.
    """
    history = History()
    rows = RowClients(site, history, RandomIds(), plan.clients, plan.seed)
    rows.prepare()
    api = ApiClients(site, access, history, plan.clients, plan.seed) if access else None
    if api is not None:
        api.prepare()
    if plan.ballast_mib:
        say(f"loading {plan.ballast_mib} MiB of rows")
        rows.load(plan.ballast_mib, plan.seed)
    say(f"seed {plan.seed}: {plan.clients} clients, {plan.seconds:.0f} s of faults")
    done = _under_fire(site, plan, say, [rows, *([api] if api else [])])
    if keep is not None:
        history.write(keep)
    held = held_by(rows.seats, rows.mark, plan.settle_s)
    operations = history.operations()
    violations, undecided = judge(operations, held), 0
    if api is not None:
        found, undecided = judge_api(operations, api.finals())
        violations += found
        violations += [Violation(thing="api", what=what) for what in api.errors[:20]]
        api.clean()
    violations += [Violation(thing="clients", what=what) for what in rows.errors[:20]]
    report = msgspec.structs.replace(
        _report(plan, operations, done, violations, next(iter(held.values())).applied_index),
        undecided=undecided,
    )
    if report.acknowledged < _FEWEST_A_SECOND * plan.seconds:
        vacuous = Violation(
            thing="drill", what=f"only {report.acknowledged} writes were acknowledged"
        )
        report = msgspec.structs.replace(report, violations=(*report.violations, vacuous))
    return report


def _under_fire(
    site: Site, plan: Plan, say: Callable[[str], None], clients: list[RowClients | ApiClients]
) -> list[Fault]:
    """Let the clients work while the nodes are hurt, until all is healed again."""
    done: list[Fault] = []
    began_s = time.monotonic()
    for one in clients:
        one.start()
    try:
        for fault in _faults(site, plan, began_s):
            say(f"[{time.monotonic() - began_s:6.1f} s] {fault}")
            done.append(fault)
            inflict(site, fault, time.sleep)
            for one in clients:
                one.reseat()
    finally:
        _mend(site)
    say("all faults are undone; waiting until every node takes writes")
    for one in clients:
        if isinstance(one, RowClients):
            healed_s = _settled(one, plan.settle_s, say)
            say(f"every node took writes {healed_s:.1f} s after the end of the faults")
    time.sleep(_CALM_S)
    for one in clients:
        one.finish()
    return done


def _faults(site: Site, plan: Plan, began_s: float) -> Iterator[Fault]:
    """Yield each fault when its time has come."""
    end_s = began_s + plan.seconds
    kinds = plan.faults or kinds_for(site)
    for fault in draw(plan.seed, lambda: [seat.name for seat in site.seats()], kinds):
        time.sleep(max(0.0, min(fault.after_s, end_s - time.monotonic())))
        if time.monotonic() >= end_s:
            return
        yield fault


def _mend(site: Site) -> None:
    site.heal()
    for seat in site.seats():
        site.resume(seat.name)
        if "disks" in site.abilities:
            site.thaw(seat.name)
            site.empty(seat.name)
        if "clocks" in site.abilities:
            site.shift_clock(seat.name, 0.0)
    site.start([seat.name for seat in site.seats()])


def _settled(clients: RowClients, settle_s: float, say: Callable[[str], None]) -> float:
    """Wait until each node takes a write; return how long it took."""
    began_s = time.monotonic()
    for seat in clients.seats:
        while True:
            try:
                seat.catch_up(5.0)
                break
            except NodeError as error:
                if time.monotonic() - began_s > settle_s:
                    say(
                        f"{seat.name} takes no writes {settle_s:.0f} s after the end: {error.message}"
                    )
                    break
    return time.monotonic() - began_s


def judge(operations: list[Operation], held: dict[str, Held]) -> list[Violation]:
    """Return what is wrong with a history, given what the nodes hold in the end."""

    def of(kind: str) -> list[Operation]:
        return [one for one in operations if one.thing.startswith(kind)]

    found = check_lists(of("list/"), {name: one.lists for name, one in held.items()})
    found += check_registers(of("register/"), {name: one.registers for name, one in held.items()})
    digests = {name: one.digest for name, one in held.items()}
    if len(set(digests.values())) > 1:
        found.append(Violation(thing="store", what=f"the stores differ: {digests}"))
    for one in held.values():
        for thing, elements in one.lists.items():
            count = one.counters.get(thing, 0)
            if count != len(elements):
                what = f"{count} were counted and {len(elements)} are there: one was applied twice"
                found.append(Violation(thing=thing, what=what))
    return found


def judge_api(
    operations: list[Operation], finals: Finals, most_tried: int = MOST_TRIED
) -> tuple[list[Violation], int]:
    """Return what is wrong with what the API answered, and of how many things that cannot be said.

    `finals` is what each node shows in the end.
    """
    things: dict[str, list[Operation]] = {}
    for one in operations:
        things.setdefault(one.thing, []).append(one)
    revisions = [one for one in operations if one.thing.startswith("revision/")]
    found, undecided = check_registers(revisions, finals), 0
    models: dict[str, tuple[object, Step]] = {
        "name": (False, holder_step),
        "count": (0, count_step),
    }
    for thing, some in sorted(things.items()):
        start, step = models.get(thing.partition("/")[0], (None, None))
        if step is None:
            continue
        try:
            if not is_linearizable(some, start, step, most_tried):
                found.append(Violation(thing=thing, what="no order explains the answers"))
        except TooLong:
            undecided += 1
    return found, undecided


def _report(
    plan: Plan,
    operations: list[Operation],
    done: list[Fault],
    violations: list[Violation],
    entry: int,
) -> Report:
    writes = [one for one in operations if one.action != "read"]
    acked = [one for one in writes if one.outcome == "ok"]
    ends = sorted(one.returned_s for one in acked)
    times = sorted(one.returned_s - one.invoked_s for one in acked) or [0.0]
    gaps = [later - earlier for earlier, later in itertools.pairwise(ends)]
    return Report(
        seed=plan.seed,
        acknowledged=len(acked),
        refused=sum(one.outcome == "refused" for one in writes),
        unknown=sum(one.outcome == "unknown" for one in writes),
        faults=tuple(map(str, done)),
        violations=tuple(violations),
        p50_ms=round(times[len(times) // 2] * 1e3, 1),
        p99_ms=round(times[int(len(times) * 0.99)] * 1e3, 1),
        longest_gap_s=round(max(gaps, default=0.0), 2),
        log_entry=entry,
    )
