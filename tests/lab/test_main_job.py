"""The main job, as a newcomer does it: the unmodified client, real guests, ssh.

Order matters within the file: the first test makes what the next ones use, the last one removes it.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.testing.running_lab import RunningLab, wait_until

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def key(lab: RunningLab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("key") / "job.pem"
    path.write_text(lab.openstack("keypair", "create", "job") + "\n")
    path.chmod(0o600)
    yield path
    lab.openstack("keypair", "delete", "job")


@pytest.fixture(scope="module")
def network(lab: RunningLab) -> Iterator[str]:
    lab.openstack("network", "create", "job")
    lab.openstack("subnet", "create", "--network", "job", "--subnet-range", "10.9.0.0/24", "job")
    lab.openstack("router", "create", "job")
    lab.openstack("router", "set", "--external-gateway", lab.facts["external_network"], "job")
    lab.openstack("router", "add", "subnet", "job", "job")
    lab.openstack("security", "group", "create", "job")
    for rule in (("--proto", "tcp", "--dst-port", "22"), ("--proto", "icmp")):
        lab.openstack("security", "group", "rule", "create", *rule, "job")
    yield "job"
    lab.openstack("router", "remove", "subnet", "job", "job")
    lab.openstack("router", "delete", "job")
    lab.openstack("network", "delete", "job")
    lab.openstack("security", "group", "delete", "job")


@pytest.fixture(scope="module")
def servers(lab: RunningLab, key: Path, network: str) -> Iterator[dict[str, str]]:
    """Two guests; returns the fixed address of each by name, and the floating one of the first as `floating`."""
    lab.openstack(
        "server", "create", "--image", lab.facts["image"], "--flavor", lab.facts["flavors"][0],
        "--network", network, "--security-group", "job", "--key-name", "job", "--min", "2", "--max", "2",
        "--wait", "job",
    )  # fmt: skip
    names = ("job-1", "job-2")
    found = {name: lab.show("server", "show", name)["addresses"][network][0] for name in names}
    created = lab.show("floating", "ip", "create", lab.facts["external_network"])
    found["floating"] = created["floating_ip_address"]
    lab.openstack("server", "add", "floating", "ip", "job-1", found["floating"])
    yield found
    lab.openstack("server", "delete", "--wait", *names)
    assert lab.show("server", "list") == []
    lab.openstack("floating", "ip", "delete", found["floating"])


def test_a_token_and_the_catalog(lab: RunningLab) -> None:
    assert lab.show("token", "issue")["project_id"]
    types = {entry["Type"] for entry in lab.show("catalog", "list")}
    assert {"identity", "image", "network", "compute"} <= types


def test_an_image_is_made_from_a_file(lab: RunningLab, tmp_path: Path) -> None:
    data = tmp_path / "some.raw"
    data.write_bytes(bytes(1 << 20))
    made = lab.show("image", "create", "--file", str(data), "--disk-format", "raw", "mine")
    assert made["status"] == "active"
    saved = tmp_path / "back.raw"
    lab.openstack("image", "save", "--file", str(saved), "mine")
    assert saved.read_bytes() == data.read_bytes()
    lab.openstack("image", "delete", "mine")


def test_the_guest_answers_ssh_at_its_floating_ip(
    lab: RunningLab, servers: dict[str, str], key: Path
) -> None:
    lab.wait_for_ssh(servers["floating"], key)
    assert lab.ssh(servers["floating"], "hostname", key).strip() == "job-1"


def test_two_guests_reach_each_other(lab: RunningLab, servers: dict[str, str], key: Path) -> None:
    lab.wait_for_ssh(servers["floating"], key)
    pinged = lab.ssh(servers["floating"], f"ping -c 3 -W 10 {servers['job-2']}", key)
    assert " 0% packet loss" in pinged
    assert servers["job-2"] in lab.ssh(servers["floating"], "nslookup job-2", key)


def test_the_guest_reaches_the_outside(lab: RunningLab, servers: dict[str, str], key: Path) -> None:
    gateway = lab.facts["public_cidr"].rpartition(".")[0] + ".1"
    assert " 0% packet loss" in lab.ssh(servers["floating"], f"ping -c 2 -W 10 {gateway}", key)


def test_the_console_shows_the_guests_own_lines(lab: RunningLab, servers: dict[str, str]) -> None:
    del servers
    wait_until("the guest's last mark", lambda: "GUEST: ready" in lab.openstack("console", "log", "show", "job-2"),
               timeout_s=120)  # fmt: skip


def test_a_closed_port_stays_closed(lab: RunningLab, servers: dict[str, str], key: Path) -> None:
    """Nothing opens port 8080 of the second guest to the first one."""
    lab.wait_for_ssh(servers["floating"], key)
    command = f"nc -w 3 {servers['job-2']} 8080 < /dev/null && echo open || echo closed"
    assert lab.ssh(servers["floating"], command, key).strip() == "closed"


def test_a_reboot_comes_back(lab: RunningLab, servers: dict[str, str], key: Path) -> None:
    lab.wait_for_ssh(servers["floating"], key)
    before = lab.ssh(servers["floating"], "cat /proc/sys/kernel/random/boot_id", key)
    lab.openstack("server", "reboot", "--wait", "job-1")
    lab.wait_for_ssh(servers["floating"], key)
    assert lab.ssh(servers["floating"], "cat /proc/sys/kernel/random/boot_id", key) != before


def test_stop_and_start(lab: RunningLab, servers: dict[str, str]) -> None:
    del servers
    lab.openstack("server", "stop", "job-2")
    wait_until(
        "SHUTOFF", lambda: lab.show("server", "show", "job-2")["status"] == "SHUTOFF", timeout_s=90
    )
    lab.openstack("server", "start", "job-2")
    wait_until(
        "ACTIVE", lambda: lab.show("server", "show", "job-2")["status"] == "ACTIVE", timeout_s=90
    )


def test_an_operator_sees_what_the_node_made_and_counted(
    lab: RunningLab, servers: dict[str, str]
) -> None:
    made = json.loads(lab.hedgerow("debug", "world", "--json").stdout)
    ids = {server["ID"] for server in lab.show("server", "list")}
    assert ids <= set(made["domains"]) == set(made["server directories"])
    assert len(made["taps"]) == len(made["domains"])
    assert made["bridges"] and made["namespaces"] and made["tables"]
    assert made["strangers"] == []
    page = lab.facts["auth_url_http"].removesuffix("/identity/v3") + "/metrics"
    seen = lab.run(["curl", "-sS", "--fail", page])
    assert "hedgerow_core_up 1.0\n" in seen
    assert 'hedgerow_api_request_seconds_count{service="nova",method="POST",status="2xx"}' in seen
    assert 'hedgerow_reconciler_failures{reconciler="servers"} 0.0\n' in seen


def signs_in(lab: RunningLab, user_id: str, password: str) -> bool:
    user = {"id": user_id, "password": password}
    body = json.dumps({"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}})
    url = lab.facts["auth_url_http"] + "/auth/tokens"
    sent = ("-H", "Content-Type: application/json", "-d", body)
    code = lab.run(["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", *sent, url])
    assert code in ("201", "401")
    return code == "201"


def test_an_operator_renews_keys_and_resets_a_password(lab: RunningLab) -> None:
    user = lab.openstack("user", "create", "--password", "first", "forgetful", "-f", "value", "-c", "id",
                         cloud="hedgerow")  # fmt: skip
    assert signs_in(lab, user, "first")
    done = lab.hedgerow("identity", "reset-password", "forgetful", typed="second\n")
    assert done.returncode == 0, done
    assert not signs_in(lab, user, "first")
    for more in ((), ("--revoke",)):
        assert lab.hedgerow("identity", "rotate-keys", *more).returncode == 0
        assert signs_in(lab, user, "second")
    assert lab.hedgerow("identity", "reset-password", "nobody", typed="x\n").returncode == 1
    lab.openstack("user", "delete", user, cloud="hedgerow")


def test_another_tenant_sees_none_of_it(lab: RunningLab, servers: dict[str, str]) -> None:
    del servers
    names = {server["Name"] for server in lab.show("server", "list", cloud="hedgerow")}
    assert "job-1" not in names


def test_starting_the_lab_again_is_harmless(lab: RunningLab) -> None:
    before = lab.facts
    lab.lab()
    assert lab.facts["admin_password"] == before["admin_password"]
    assert lab.facts["server"]["id"] == before["server"]["id"]
    assert lab.facts["nodes"][0]["pid"] == before["nodes"][0]["pid"]
