"""Names that the API and the node must agree on: domains, directories and files of a server."""

from pathlib import Path


def instance_name(server_id: str) -> str:
    """Return the name of a server's libvirt domain (OS-EXT-SRV-ATTR:instance_name)."""
    return f"instance-{server_id.replace('-', '')[:12]}"


def server_dir(state_dir: Path, server_id: str) -> Path:
    """Return the directory of a server's files on its node."""
    return state_dir / "instances" / server_id


def disk_path(state_dir: Path, server_id: str) -> Path:
    """Return the root disk's file."""
    return server_dir(state_dir, server_id) / "disk"


def rescue_path(state_dir: Path, server_id: str) -> Path:
    """Return the file of the disk that a server in rescue boots from."""
    return server_dir(state_dir, server_id) / "disk.rescue"


def config_drive_path(state_dir: Path, server_id: str) -> Path:
    """Return the config drive's file."""
    return server_dir(state_dir, server_id) / "disk.config"


def console_log_path(state_dir: Path, server_id: str) -> Path:
    """Return the file that the serial console is logged to."""
    return server_dir(state_dir, server_id) / "console.log"
