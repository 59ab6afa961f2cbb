"""Objects through the unmodified clients: `openstack`, `swift` and `rclone`."""

import json
import sys
from pathlib import Path

import pytest

from node.testing.running_lab import RunningLab

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

_BIG = bytes(range(256)) * 10_000
_SEGMENT = 1_000_000


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    found = tmp_path / "tree"
    (found / "sub").mkdir(parents=True)
    (found / "big").write_bytes(_BIG)
    (found / "empty").touch()
    (found / "sub" / "b ü").write_text("b")
    return found


def signed_in(lab: RunningLab) -> dict[str, str]:
    """Return what clients read from the environment."""
    facts = lab.facts
    return {
        "OS_AUTH_URL": facts["auth_url"], "OS_USERNAME": "demo", "OS_PASSWORD": facts["demo_password"],
        "OS_PROJECT_NAME": "demo", "OS_USER_DOMAIN_NAME": "Default", "OS_PROJECT_DOMAIN_NAME": "Default",
        "OS_CACERT": facts["ca_file"], "OS_IDENTITY_API_VERSION": "3", "ST_AUTH_VERSION": "3",
        "SSL_CERT_FILE": facts["ca_file"],
    }  # fmt: skip


def swift(lab: RunningLab, *arguments: str | Path) -> str:
    return lab.run([Path(sys.executable).with_name("swift"), *arguments], **signed_in(lab))


def test_openstack_object(lab: RunningLab, tree: Path) -> None:
    lab.openstack("container", "create", "oc")
    lab.openstack("object", "create", "oc", str(tree / "big"), "--name", "big")
    shown = lab.show("object", "show", "oc", "big")
    assert int(shown["content-length"]) == len(_BIG)
    lab.openstack("object", "save", "oc", "big", "--file", str(tree / "back"))
    assert (tree / "back").read_bytes() == _BIG
    lab.openstack("object", "set", "oc", "big", "--property", "color=blue")
    assert "blue" in str(lab.show("object", "show", "oc", "big"))
    assert [item["Name"] for item in lab.show("object", "list", "oc")] == ["big"]
    lab.openstack("container", "delete", "--recursive", "oc")
    assert lab.show("container", "list") == []


def test_swift(lab: RunningLab, tree: Path, tmp_path: Path) -> None:
    swift(lab, "upload", "sc", tree, "--object-name", "tree")
    swift(lab, "upload", "sc", "-S", str(_SEGMENT), "--use-slo", tree / "big", "--object-name", "static")
    swift(lab, "upload", "sc", "-S", str(_SEGMENT), tree / "big", "--object-name", "dynamic")
    names = swift(lab, "list", "sc").split("\n")
    assert {"static", "dynamic", "tree/big", "tree/empty", "tree/sub/b ü"} <= set(names)
    for name in ("static", "dynamic", "tree/big"):
        swift(lab, "download", "sc", name, "-o", tmp_path / "down")  # compares the ETag too
        assert (tmp_path / "down").read_bytes() == _BIG
    swift(lab, "post", "-m", "Temp-URL-Key:secret")
    swift(lab, "post", "sc", "-r", ".r:*", "-m", "color:blue")
    assert "Read ACL: .r:*" in swift(lab, "stat", "sc")
    account = next(line.split()[1] for line in swift(lab, "stat").splitlines() if "Account:" in line)
    path = swift(lab, "tempurl", "GET", "600", f"/v1/{account}/sc/tree/sub/b ü", "secret").strip()
    root = lab.facts["auth_url"].rpartition("/identity")[0] + "/object-store"
    url = f"{root}{path.replace(' ', '%20').replace('ü', '%C3%BC')}"
    assert lab.run(["curl", "-sS", "--fail", "--cacert", lab.facts["ca_file"], url]) == "b"
    assert "bulk_delete" in swift(lab, "capabilities")
    swift(lab, "delete", "--all")
    assert swift(lab, "list") == ""


def test_rclone(lab: RunningLab, tree: Path, tmp_path: Path) -> None:
    config = tmp_path / "rclone.conf"
    config.write_text("[lab]\ntype = swift\nenv_auth = true\n")

    def rclone(*arguments: str | Path) -> str:
        return lab.run(["rclone", "--config", config, *arguments], **signed_in(lab))

    rclone("sync", tree, "lab:rc/tree")
    rclone("check", "--download", tree, "lab:rc/tree")
    rclone("copy", "--swift-chunk-size", "1M", tree / "big", "lab:rc/chunked")
    rclone("copyto", "lab:rc/chunked/big", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == _BIG
    rclone("moveto", "lab:rc/tree/empty", "lab:rc/moved")
    listed = json.loads(rclone("lsjson", "-R", "--files-only", "lab:rc"))
    assert {item["Path"] for item in listed} == {"chunked/big", "moved", "tree/big", "tree/sub/b ü"}
    for container in ("rc", "rc_segments"):
        rclone("purge", f"lab:{container}")
    assert rclone("lsd", "lab:") == ""
