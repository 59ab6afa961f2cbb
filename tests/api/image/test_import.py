"""Imports of URLs: fetched by the node, judged before and while they are fetched, and begun again after a crash."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from node.plugins import image as image_plugin
from node.plugins.image.import_sync import ImageImportSync
from node.plugins.image.tables import Image, ImageTask
from node.testing import Answer, Cloud

IMAGES = "/image/v2/images"
DATA = bytes(range(256)) * 4096


class Web(http.server.BaseHTTPRequestHandler):
    """A web server with a file, a redirect, and a file that ends early."""

    protocol_version = "HTTP/1.0"
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/file")
            self.end_headers()
        elif self.path == "/elsewhere":
            self.send_response(302)
            self.send_header("Location", "file:///etc/passwd")
            self.end_headers()
        elif self.path in ("/file", "/short"):
            self.send_response(200)
            self.send_header("Content-Length", str(len(DATA) + (self.path == "/short")))
            self.end_headers()
            self.wfile.write(DATA)
        else:
            self.send_error(404)

    def log_message(self, *_args: object) -> None:
        return


@pytest.fixture
def web() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Web)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def a_cloud(directory: Path, more: str) -> Cloud:
    text = f"[node]\nname = testnode\nstate_dir = {directory}\n[image]\n{more}\n"
    return Cloud(directory, [image_plugin], config_text=text)


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return a_cloud(tmp_path, "import_ports =\nimport_private = true")


def register(cloud: Cloud, token: str, **fields: object) -> str:
    body = {"name": "i", "disk_format": "raw", "container_format": "bare", **fields}
    image_id: str = cloud.post(IMAGES, json=body, token=token).json["id"]
    return image_id


def import_it(cloud: Cloud, token: str, image_id: str, uri: Any) -> Answer:
    body = {"method": {"name": "web-download", "uri": uri}}
    return cloud.post(f"{IMAGES}/{image_id}/import", json=body, token=token)


def test_a_url_becomes_the_image(cloud: Cloud, web: str) -> None:
    token = cloud.token()
    image_id = register(cloud, token)
    assert "web-download" in cloud.get("/image/v2/info/import", token=token).json["import-methods"]["value"]
    assert import_it(cloud, token, image_id, f"{web}/moved").status == 202
    shown = cloud.get(f"{IMAGES}/{image_id}", token=token).json
    assert (shown["status"], shown["os_glance_importing_to_stores"]) == ("importing", "local")
    assert import_it(cloud, token, image_id, f"{web}/file").status == 409
    cloud.reconcile(ImageImportSync(cloud.control))
    assert cloud.get(f"{IMAGES}/{image_id}", token=token).json["status"] == "active"
    assert cloud.get(f"{IMAGES}/{image_id}/file", token=token).body == DATA
    (task,) = cloud.get(f"{IMAGES}/{image_id}/tasks", token=token).json["tasks"]
    assert (task["status"], task["input"]["import_req"]["method"]["name"]) == ("success", "web-download")


@pytest.mark.parametrize("path", ["/missing", "/short", "/elsewhere"])
def test_a_source_that_fails_leaves_an_image_that_can_be_imported_again(
    cloud: Cloud, web: str, path: str, tmp_path: Path
) -> None:
    token = cloud.token()
    image_id = register(cloud, token)
    import_it(cloud, token, image_id, web + path)
    cloud.reconcile(ImageImportSync(cloud.control))
    shown = cloud.get(f"{IMAGES}/{image_id}", token=token).json
    assert (shown["status"], shown["os_glance_failed_import"]) == ("queued", "local")
    (task,) = cloud.get(f"{IMAGES}/{image_id}/tasks", token=token).json["tasks"]
    assert task["status"] == "failure"
    assert task["message"]
    assert list((tmp_path / "images").glob("*.part")) == []
    assert import_it(cloud, token, image_id, f"{web}/file").status == 202
    cloud.reconcile(ImageImportSync(cloud.control))
    shown = cloud.get(f"{IMAGES}/{image_id}", token=token).json
    assert shown["status"] == "active"
    assert "os_glance_failed_import" not in shown


@pytest.mark.parametrize(
    "uri",
    [
        None, "", 5, "file:///etc/passwd", "ftp://a/b", "http://", "http://a:b/", "http://u:p@a/", "http://a b/",
        "http://127.0.0.1/", "http://[::1]/", "http://169.254.169.254/latest", "http://[::ffff:127.0.0.1]/",
        "http://0.0.0.0/", "http://10.0.0.1:22/", "https://a:8443/", "http://a/" + "x" * 3000,
    ],
)  # fmt: skip
def test_urls_that_are_refused_at_once(tmp_path: Path, uri: Any) -> None:
    cloud = a_cloud(tmp_path, "")
    token = cloud.token()
    image_id = register(cloud, token)
    assert import_it(cloud, token, image_id, uri).status == 400
    assert cloud.get(f"{IMAGES}/{image_id}", token=token).json["status"] == "queued"


def test_a_name_of_the_node_itself_is_found_out_when_it_is_fetched(tmp_path: Path, web: str) -> None:
    cloud = a_cloud(tmp_path, "import_ports =")
    token = cloud.token()
    image_id = register(cloud, token)
    Web.asked.clear()
    assert import_it(cloud, token, image_id, web.replace("127.0.0.1", "localhost") + "/file").status == 202
    cloud.reconcile(ImageImportSync(cloud.control))
    assert cloud.get(f"{IMAGES}/{image_id}", token=token).json["status"] == "queued"
    assert Web.asked == []


def test_another_node_s_import_is_left_alone_and_a_cut_off_one_begun_again(cloud: Cloud, web: str) -> None:
    from node.sdk import patch

    token = cloud.token()
    image_id = register(cloud, token)
    import_it(cloud, token, image_id, f"{web}/file")
    cloud.commit(patch(Image, image_id, node_id="other"))
    sync = ImageImportSync(cloud.control)
    cloud.reconcile(sync)
    assert cloud.db.must(Image, image_id).status == "importing"
    cloud.commit(patch(Image, image_id, node_id=cloud.control.node_id))
    (task,) = cloud.db.rows(ImageTask)
    cloud.commit(patch(ImageTask, task.id, status="processing"))
    part = cloud.directory / "images" / f"{image_id}.{task.id}.part"
    part.parent.mkdir(exist_ok=True)
    part.write_bytes(b"half")
    cloud.reconcile(sync)
    assert cloud.get(f"{IMAGES}/{image_id}/file", token=token).body == DATA


def test_tasks_of_administrators(cloud: Cloud, web: str) -> None:
    admin = cloud.token(roles=("admin",))
    properties = {"name": "t", "disk_format": "raw", "container_format": "bare", "visibility": "public"}
    given = {"import_from": f"{web}/file", "import_from_format": "raw", "image_properties": properties}
    assert cloud.post("/image/v2/tasks", json={"type": "import", "input": given}, token=cloud.token()).status == 403
    made = cloud.post("/image/v2/tasks", json={"type": "import", "input": given}, token=admin)
    assert (made.status, made.json["status"], made.json["input"]) == (201, "pending", given)
    wrong = {**given, "import_from": f"{web}/missing"}
    failing = cloud.post("/image/v2/tasks", json={"type": "import", "input": wrong}, token=admin).json
    cloud.reconcile(ImageImportSync(cloud.control))
    done = cloud.get(f"/image/v2/tasks/{made.json['id']}", token=admin).json
    assert done["status"] == "success"
    assert cloud.get(f"{IMAGES}/{done['result']['image_id']}", token=admin).json["status"] == "active"
    assert cloud.get(f"/image/v2/tasks/{failing['id']}", token=admin).json["status"] == "failure"
    assert cloud.db.get(Image, failing["image_id"]) is None
    page = cloud.get("/image/v2/tasks?limit=1", token=admin).json
    assert [task["id"] for task in page["tasks"]] == [failing["id"]]
    assert cloud.get(f"/image{page['next']}", token=admin).json["tasks"][0]["id"] == made.json["id"]
    assert cloud.get("/image/v2/tasks/none", token=admin).status == 404
    for body in ({}, {"type": "export", "input": {}}, {"type": "import", "input": {}}, {"type": "import", "input": 5}):
        assert cloud.post("/image/v2/tasks", json=body, token=admin).status == 400
