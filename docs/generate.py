"""Writes the generated parts of the documents: run `python docs/generate.py` after a change; a test compares.

A generated part stands between `<!-- generated: NAME -->` and `<!-- end of NAME -->`; whole files are generated too.
"""

import ast
import inspect
import re
import sys
import textwrap
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[1]
ROLES = ("admin", "manager", "member", "reader", "service")


def features() -> str:
    """Return the table of what works; a line stands in it because the tests that it names exist."""
    entries = tomllib.loads((REPO / "docs" / "features.toml").read_text())["feature"]
    lines = ["| service | what works | proved by |", "|---|---|---|"]
    for entry in entries:
        proofs = ", ".join(f"`{path}`" for path in entry["tests"])
        lines.append(f"| {entry['service']} | {entry['what']} | {proofs} |")
    return "\n".join(lines)


def field_documents(section: type) -> Mapping[str, str]:
    """Return the string below each field of a class, by field."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(section))).body[0]
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for field, text in zip(tree.body, tree.body[1:], strict=False):
        match (field, text):
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(document))),
            ):
                found[name] = " ".join(document.split())
    return found


def configuration(sections: Mapping[str, type]) -> str:
    """Return a table of keys for each section of the configuration file."""
    parts = []
    for name, section in sorted(sections.items()):
        documents = field_documents(section)
        parts += [f"## [{name}]", "", _summary(section), ""]
        parts += ["| key | default | meaning |", "|---|---|---|"]
        defaults = section()
        for key in inspect.signature(section).parameters:
            value = getattr(defaults, key)
            shown = (
                ""
                if value == ""
                else f"`{str(value).lower() if isinstance(value, bool) else value}`"
            )
            parts.append(f"| `{key}` | {shown} | {documents.get(key, '')} |")
        parts.append("")
    return "\n".join(parts).rstrip()


def _summary(section: type) -> str:
    line = (inspect.getdoc(section) or "").splitlines()[0]
    text = line.split("]`: ", 1)[-1]
    return text[:1].upper() + text[1:]


def hooks(page: Any) -> str:
    """Return each hook with its arguments and its document."""
    parts = []
    for name, function in inspect.getmembers(page, inspect.isfunction):
        options = getattr(function, f"{page.PROJECT}_spec", None)
        if options is None:
            continue
        arguments = ", ".join(inspect.signature(function).parameters)
        first = " *(first result)*" if options.get("firstresult") else ""
        parts.append(
            f"* `{name}({arguments})`{first}: {' '.join((inspect.getdoc(function) or '').split())}"
        )
    return "\n".join(parts)


def policy_matrix(services: Iterable[Any]) -> str:
    """Return, for each route, which roles may call it on what is theirs, and on what is not.

    `own`: the caller's project, domain and user stand in the target; `any`: another's do. `read` off the default
    rules with project-scoped tokens, `admin` implying the roles below it as Keystone's bootstrap does.
    """
    from node.api.policy import collect

    services = sorted(services, key=lambda service: service.name)
    policies = collect([part for s in services for part in (s.rules, s.policies)], "")
    lines = ["\t".join(("service", "method", "path", "action", "policy", *ROLES))]
    for service in services:
        for route in sorted(
            service.routes, key=lambda r: (r.path, r.method, r.action or "", r.since or "")
        ):
            policy = "(other nodes only)" if route.peers_only else route.policy
            row = (service.name, route.method, route.path, route.action or "-", policy)
            reach = [_reach(policy, policies, role) for role in ROLES]
            line = "\t".join((*row, *reach))
            if line not in lines[-1:]:
                lines.append(line)
    return "\n".join(lines) + "\n"


_IMPLIED = {
    "admin": ("admin", "manager", "member", "reader"),
    "manager": ("manager", "member", "reader"),
    "member": ("member", "reader"),
    "reader": ("reader",),
    "service": ("service",),
}


def _reach(policy: str, policies: Any, role: str) -> str:
    from node.api.context import Token

    if policy in ("public", "any", "own"):
        return "any"
    if policy.startswith("("):
        return "-"
    token = Token(
        user_id="u1",
        user_name="u",
        user_domain_id="d1",
        user_domain_name="d",
        roles=_IMPLIED[role],
        project_id="p1",
        project_domain_id="d1",
    )
    if policies.allows(policy, token, _target("2")):
        return "any"
    return "own" if policies.allows(policy, token, _target("1")) else "-"


def _target(whose: str) -> Mapping[str, Any]:
    ids = {f"{kind}_id": f"{kind[0]}{whose}" for kind in ("project", "user", "domain")}
    nested = {**ids, "id": f"u{whose}"}
    names = ("user", "project", "domain", "trust", "credential", "token", "network", "target")
    flat = {f"target.{name}.{key}": value for name in names for key, value in nested.items()}
    flat["trust.trustor_user_id"] = f"u{whose}"
    return {**ids, **flat, "tenant_id": f"p{whose}", "owner": f"p{whose}", "member_id": f"p{whose}"}


def documents() -> Mapping[str, Callable[[], str]]:
    """Return what makes each generated file, by path."""
    from node import hookspecs
    from node.config import BUILTIN_SECTIONS
    from node.pluginhost import PluginHost

    host = PluginHost()
    host.load()
    if host.failures():
        raise SystemExit(f"plugins do not load: {host.failures()}")
    services = [service for _name, some in host.gather("services") for service in some]
    return {
        "README.md": lambda: replace("README.md", "features", features()),
        "docs/configuration.md": lambda: replace(
            "docs/configuration.md", "keys", configuration({**BUILTIN_SECTIONS, **host.sections()})
        ),
        "docs/hooks.md": lambda: replace("docs/hooks.md", "hooks", hooks(hookspecs)),
        "docs/policy-matrix.tsv": lambda: policy_matrix(services),
    }


def replace(path: str, name: str, text: str) -> str:
    """Return a document with its generated part exchanged."""
    before = (REPO / path).read_text()
    pattern = re.compile(rf"(<!-- generated: {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
    if not pattern.search(before):
        raise SystemExit(f"{path} has no place for {name}")
    return pattern.sub(lambda found: f"{found[1]}{text}\n{found[2]}", before)


def main() -> None:
    """Write every generated document that has changed."""
    for path, make in documents().items():
        text = make()
        target = REPO / path
        if not target.exists() or target.read_text() != text:
            target.write_text(text)
            print(f"wrote {path}")


if __name__ == "__main__":
    sys.path.insert(0, str(REPO))
    main()
