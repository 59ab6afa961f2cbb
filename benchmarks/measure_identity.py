"""Tokens and projects."""

import itertools
import json
import time

from argon2 import PasswordHasher
from cloud import TOKENS, Cloud, password_login
from load import request
from report import Report


def tokens(cloud: Cloud, report: Report, seconds: float) -> None:
    """Token by token, validation, token by password."""
    scope = {"project": {"id": cloud.project_id}}
    identity = {"methods": ["token"], "token": {"id": cloud.token}}
    by_token = request(
        "POST", TOKENS, {}, json.dumps({"auth": {"identity": identity, "scope": scope}}).encode()
    )
    validation = cloud.request("GET", TOKENS, headers={"X-Subject-Token": cloud.token})
    for name, data, status in (
        ("token by token", by_token, 201),
        ("token validation", validation, 200),
    ):
        cloud.drive(itertools.repeat(data), status, concurrency=8, seconds=0.5)
        done = cloud.drive(itertools.repeat(data), status, concurrency=8, seconds=seconds)
        report.line(f"{name}, concurrency 8", done.load.rate, done)
        done = cloud.drive(itertools.repeat(data), status, concurrency=1, seconds=seconds / 2)
        report.line(f"{name}, p50 alone", done.load.percentile_ms(0.5), done)
    _passwords(cloud, report, seconds)


def _passwords(cloud: Cloud, report: Report, seconds: float) -> None:
    data = request("POST", TOKENS, {}, password_login(cloud.facts["admin_password"]))
    done = cloud.drive(itertools.repeat(data), 201, concurrency=8, seconds=seconds)
    hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
    hashed = hasher.hash("password")
    began, count = time.process_time(), 20
    for _ in range(count):
        hasher.verify(hashed, "password")
    hash_ms = (time.process_time() - began) / count * 1e3
    share = min(100.0, hash_ms / done.server_ms * 100)
    report.line(
        "token by password, concurrency 8",
        done.load.rate,
        done,
        f"the hash alone: {hash_ms:.1f} ms, {share:.0f} % of it",
    )


def projects(cloud: Cloud, report: Report, seconds: float) -> None:
    """List a thousand projects (made through the API and removed again)."""
    present = len(cloud.call("GET", "/identity/v3/projects")["projects"])
    domain = cloud.call(
        "POST", "/identity/v3/domains", {"domain": {"name": f"bench-{time.time()}"}}
    )
    domain_id = domain["domain"]["id"]
    cloud.drive(
        (
            cloud.request(
                "POST",
                "/identity/v3/projects",
                {"project": {"name": f"bench-{n}", "domain_id": domain_id}},
            )
            for n in range(1000 - present - 1)
        ),
        201,
        concurrency=8,
    )
    listed = cloud.request("GET", "/identity/v3/projects")
    done = cloud.drive(itertools.repeat(listed), 200, concurrency=1, seconds=seconds)
    size = done.load.body_bytes / done.load.count
    report.line(
        "list of 1000 projects, p50", done.load.percentile_ms(0.5), done, f"{size / 1024:.0f} KiB"
    )
    path = f"/identity/v3/domains/{domain_id}"
    cloud.call("PATCH", path, {"domain": {"enabled": False}})
    cloud.call("DELETE", path)
