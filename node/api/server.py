"""The API processes: gunicorn with our application and our worker.

The application is built before the workers are forked, so they share its memory. What must not be shared (SQLite
connections, sockets to the core) is opened by each worker at its first request.
"""

import gc
import logging
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication

from node.api.app import build_both
from node.api.dispatch import Backend
from node.api.policy import collect
from node.api.route import Service
from node.api.worker import ApiWorker
from node.config import ApiSection, ClusterSection
from node.data_port import NodeTls
from node.types import Frozen

log = logging.getLogger("hedgerow.api")

_KEEPALIVE_S = 75
_HEARTBEAT_S = 120
_GRACE_S = 10
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


class TlsFiles(Frozen):
    """Certificate chain and key of the server."""

    certificate: Path
    key: Path


class ApiServer(BaseApplication):
    """A gunicorn arbiter that serves the services."""

    def __init__(self, backend: Backend, services: Sequence[Service], tls: TlsFiles) -> None:
        self._backend = backend
        self._services = services
        self._tls = tls
        super().__init__()

    def load_config(self) -> None:
        """Set gunicorn's settings; nothing is read from files or the environment."""
        section = self._backend.config.section(ApiSection)
        binds = [f"{_host(section.listen)}:{section.port}"]
        if section.plain_port:
            binds.append(f"127.0.0.1:{section.plain_port}")
        cluster = self._backend.config.section(ClusterSection)
        if cluster.data_port:
            binds.append(f"{_host(cluster.listen or _any_address())}:{cluster.data_port}")
        fields = {
            "plain_port": section.plain_port,
            "data_port": cluster.data_port,
            "node_tls": NodeTls(self._backend.config.state_dir / "tls"),
        }
        settings: dict[str, Any] = {
            "bind": binds,
            "workers": section.workers,
            "threads": section.threads,
            "worker_class": type("Worker", (ApiWorker,), fields),
            "worker_connections": 1000,
            "preload_app": True,
            "certfile": str(self._tls.certificate),
            "keyfile": str(self._tls.key),
            "ciphers": _CIPHERS,
            "keepalive": _KEEPALIVE_S,
            "timeout": _HEARTBEAT_S,
            "graceful_timeout": _GRACE_S,
            "header_map": "dangerous",  # the worker sorts out which names with underscores may pass
            "limit_request_line": 16382,
            "limit_request_field_size": 16384,
            "worker_tmp_dir": "/dev/shm",  # noqa: S108 - gunicorn makes and unlinks a private file there
            "forwarded_allow_ips": "",
            "control_socket_disable": True,
            "proc_name": "hedgerow-api",
            "loglevel": "warning",
            "backlog": 512,
        }
        assert self.cfg is not None, "gunicorn makes its settings before it asks for them"
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Return the WSGI application."""
        app = build_both(self._backend, self._services)
        gc.collect()
        gc.freeze()  # forked workers share these pages as long as the collector leaves them alone
        return app


def backend_policies(services: Sequence[Service], override_file: str) -> Any:
    """Return the compiled policies of all services."""
    return collect([{**service.rules, **service.policies} for service in services], override_file)


def _any_address() -> str:
    """Return the name of every address: one socket takes both versions of IP where the kernel has both."""
    return "::" if socket.has_dualstack_ipv6() else "0.0.0.0"  # noqa: S104 - certificates decide there


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address
