"""Real S3 clients against the lab, each as its users set it up: boto3, awscli, s3cmd and rclone."""

import filecmp
import os
import shutil
import sys
from pathlib import Path

import pytest

from node.testing.running_lab import RunningLab

pytestmark = pytest.mark.timeout(300)


class Keys:
    """An EC2 key of the demo user, and where things are."""

    def __init__(self, lab: RunningLab, home: Path) -> None:
        made = lab.show("ec2", "credentials", "create")
        self.access, self.secret = made["access"], made["secret"]
        self.lab, self.home = lab, home
        self.ca = lab.facts["ca_file"]
        self.root = lab.facts["auth_url"].removesuffix("/identity/v3")
        self.url = f"{self.root}/s3"

    def client(self, name: str) -> str:
        """Return the path of a client of the test environment."""
        return str(Path(sys.executable).with_name(name))

    def run(self, *argv: str, **env: str) -> str:
        """Run a client in the lab's network, with a home of its own."""
        return self.lab.run(argv, HOME=str(self.home), **env)


@pytest.fixture(scope="module")
def keys(lab: RunningLab, tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(lab, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree with a large file, an empty one, and names that need care."""
    root = tmp_path_factory.mktemp("files")
    (root / "dir").mkdir()
    (root / "big").write_bytes(os.urandom(17 << 20))
    (root / "empty").write_bytes(b"")
    (root / "dir" / "a b+c").write_text("x")
    (root / "dir" / "é").write_text("y")
    return root


def same(left: Path, right: Path) -> bool:
    """Return whether two trees are alike."""
    names = sorted(str(p.relative_to(left)) for p in left.rglob("*") if p.is_file())
    assert names == sorted(str(p.relative_to(right)) for p in right.rglob("*") if p.is_file())
    return all(filecmp.cmp(left / name, right / name, shallow=False) for name in names)


def test_boto3(keys: Keys) -> None:
    script = str(Path(__file__).with_name("s3_boto.py"))
    assert keys.run(sys.executable, script, keys.url, keys.ca, keys.access, keys.secret) == "held\n"


def test_awscli(keys: Keys, files: Path, tmp_path: Path) -> None:
    env = {
        "AWS_ACCESS_KEY_ID": keys.access, "AWS_SECRET_ACCESS_KEY": keys.secret, "AWS_CA_BUNDLE": keys.ca,
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": keys.url,
    }  # fmt: skip
    aws = (sys.executable, keys.client("aws"), "s3")
    keys.run(*aws, "mb", "s3://aws-lab", **env)
    keys.run(*aws, "sync", str(files), "s3://aws-lab/tree", "--only-show-errors", **env)
    keys.run(*aws, "sync", "s3://aws-lab/tree", str(tmp_path / "back"), "--only-show-errors", **env)
    assert same(files, tmp_path / "back")
    keys.run(*aws, "rb", "s3://aws-lab", "--force", **env)


def test_s3cmd(keys: Keys, files: Path, tmp_path: Path) -> None:
    # It knows no path before the bucket: it speaks to the root of the port.
    host = keys.root.partition("://")[2]
    (tmp_path / "cfg").write_text(
        f"[default]\naccess_key = {keys.access}\nsecret_key = {keys.secret}\nhost_base = {host}\nhost_bucket = {host}\n"
        f"use_https = True\nca_certs_file = {keys.ca}\nmultipart_chunk_size_mb = 5\n"
    )
    s3cmd = (sys.executable, keys.client("s3cmd"), "-c", str(tmp_path / "cfg"), "--no-progress")
    keys.run(*s3cmd, "mb", "s3://cmd-lab")
    keys.run(*s3cmd, "sync", f"{files}/", "s3://cmd-lab/tree/")
    (tmp_path / "back").mkdir()
    keys.run(*s3cmd, "sync", "s3://cmd-lab/tree/", f"{tmp_path}/back/")
    assert same(files, tmp_path / "back")
    assert "dir/a b+c" in keys.run(*s3cmd, "ls", "-r", "s3://cmd-lab")
    keys.run(*s3cmd, "rb", "--recursive", "--force", "s3://cmd-lab")


def test_rclone(keys: Keys, files: Path, tmp_path: Path) -> None:
    assert shutil.which("rclone"), "install the packages of scripts/packages.test"
    (tmp_path / "conf").write_text(
        f"[lab]\ntype = s3\nprovider = Other\naccess_key_id = {keys.access}\nsecret_access_key = {keys.secret}\n"
        f"endpoint = {keys.url}\nforce_path_style = true\nchunk_size = 5M\nupload_cutoff = 5M\n"
    )
    # It cannot take a bundle of CAs from this variable, which test machines may have set.
    rclone = ("env", "-u", "AWS_CA_BUNDLE", "rclone", "--config", str(tmp_path / "conf"), "--ca-cert", keys.ca)
    keys.run(*rclone, "mkdir", "lab:rclone-lab")
    keys.run(*rclone, "copy", str(files), "lab:rclone-lab/tree")
    keys.run(*rclone, "check", str(files), "lab:rclone-lab/tree")
    keys.run(*rclone, "copy", "lab:rclone-lab/tree", str(tmp_path / "back"))
    assert same(files, tmp_path / "back")
    keys.run(*rclone, "purge", "lab:rclone-lab")
