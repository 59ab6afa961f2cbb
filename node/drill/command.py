"""`hedgerow drill`: hurt a lab while clients use it, and check every answer."""

import os
import random
import sys
from collections.abc import Iterable
from pathlib import Path

import click
import msgspec

from node.drill.api_work import Access
from node.drill.campaign import Plan, Report, run
from node.drill.faults import ALL_KINDS, lacking
from node.drill.lab_site import LabSite
from node.errors import NodeError, Unavailable
from node.lab.cluster import cluster_lab
from node.lab.place import DEFAULT_DIRECTORY, Place


@click.command()
@click.option("--dir", "directory", type=click.Path(path_type=Path, file_okay=False), default=DEFAULT_DIRECTORY,
              show_default=True, help="Directory of a running lab of several nodes.")  # fmt: skip
@click.option(
    "--seconds", type=click.FloatRange(5), default=60.0, show_default=True, help="How long."
)
@click.option("--seed", type=int, help="Draws the faults; the same one draws the same (any).")
@click.option(
    "--clients",
    type=click.IntRange(1, 64),
    default=6,
    show_default=True,
    help="Of the row store, and as many of the API.",
)
@click.option("--ballast", "ballast_mib", type=click.IntRange(0), default=0, show_default=True,
              help="MiB of rows to load first (they stay): a small store hides the worst faults.")  # fmt: skip
@click.option(
    "--faults", default="",
    help=f"Kinds to draw from, with commas (all that the lab allows): {', '.join(sorted(ALL_KINDS))}.",
)  # fmt: skip
@click.option("--rows-only", is_flag=True, help="Leave the HTTP API alone.")
@click.option(
    "--history", type=click.Path(path_type=Path, dir_okay=False), help="Write every operation here."
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def drill(  # noqa: PLR0913, PLR0917 - one argument for each option
    directory: Path,
    seconds: float,
    seed: int | None,
    clients: int,
    ballast_mib: int,
    faults: str,
    rows_only: bool,
    history: Path | None,
    as_json: bool,
) -> None:
    """Kill, stop and cut off the nodes of a lab while clients write through all of them; prove that nothing is lost.

    Not for a cloud that anyone uses: requests fail meanwhile. Rows and resources named drill are made.
    """
    if os.geteuid() != 0:
        raise click.ClickException("The drill kills processes: run it as root (sudo)")
    kinds = tuple(kind.strip() for kind in faults.split(",") if kind.strip())
    if unknown := set(kinds) - ALL_KINDS:
        raise click.ClickException(
            f"There are no faults {', '.join(sorted(unknown))}: choose from {', '.join(sorted(ALL_KINDS))}"
        )
    plan = Plan(
        seed=random.randrange(1 << 31) if seed is None else seed,
        seconds=seconds,
        clients=clients,
        ballast_mib=ballast_mib,
        faults=kinds,
    )
    try:
        report = _run(Place(directory), plan, history, rows_only=rows_only, quiet=as_json)
    except NodeError as error:
        raise click.ClickException(f"seed {plan.seed}: {error.message}") from error
    if as_json:
        click.echo(msgspec.json.encode(report))
    else:
        for line in words(report):
            click.echo(line)
    sys.exit(0 if report.passed else 1)


def _run(place: Place, plan: Plan, history: Path | None, *, rows_only: bool, quiet: bool) -> Report:
    lab = cluster_lab(place)
    access = None
    if not rows_only:
        ca = place.node(lab.names[0]).state / "tls" / "ca.pem"
        access = Access(port=lab.choice.port, ca=ca, password=lab.password())
    site = LabSite(lab)
    if missing := lacking(site, plan.faults):
        raise Unavailable(
            f"The nodes of this lab have no {' or '.join(sorted(missing))} of their own: make one with "
            "scripts/lab --dir DIR --nodes 3 --disk-mib 2048"
        )
    say = (lambda _text: None) if quiet else click.echo
    return run(site, plan, say, history, access)


def words(report: Report) -> Iterable[str]:
    """Return what is printed of a report."""
    yield (
        f"{report.acknowledged} writes were acknowledged, {report.refused} refused, {report.unknown} left open; "
        f"{len(report.faults)} faults"
    )
    yield (
        f"p50 {report.p50_ms} ms, p99 {report.p99_ms} ms; longest time without an acknowledged write "
        f"{report.longest_gap_s} s"
    )
    if report.undecided:
        yield f"of {report.undecided} names too much overlapped for a verdict"
    for violation in report.violations:
        yield f"VIOLATION {violation.thing}: {violation.what}"
    if report.passed:
        yield (
            f"seed {report.seed}: nothing was lost, nothing applied twice, every read was fresh, "
            f"and all nodes hold the same at entry {report.log_entry}"
        )
    else:
        yield f"seed {report.seed}: {len(report.violations)} violations"
