"""The third-party example, used as a stranger would: as a file in the plugin directory, and installed by pip."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node.pluginhost import BUILTIN, PluginHost
from node.sdk import NodeRow, insert
from node.testing import Cloud

REPO = Path(__file__).resolve().parents[3]
EXAMPLE = REPO / "examples" / "notes"
NOTES = "/notes/v1/notes"


def load_file(directory: Path) -> PluginHost:
    host = PluginHost()
    host.load(directory=directory, blocked=tuple(name.rpartition(".")[2] for name in BUILTIN))
    return host


@pytest.fixture
def plugin(tmp_path: Path) -> Any:
    directory = tmp_path / "plugins"
    directory.mkdir()
    shutil.copy(EXAMPLE / "notes.py", directory)
    host = load_file(directory)
    assert host.failures() == {}
    assert {"row_types", "services", "config_sections", "reconcilers"} == set(host.reports[0].hooks)
    return host.manager.get_plugin("notes")


@pytest.fixture
def cloud(tmp_path: Path, plugin: Any) -> Iterator[Cloud]:
    state_dir = tmp_path / "state"
    state_dir.mkdir()
    text = f"[node]\nstate_dir = {state_dir}\n[notes]\nlimit = 2\n"
    made = Cloud(state_dir, [plugin], node_id="node-1", config_text=text)
    made.commit(insert(NodeRow(id="node-1", name="testnode")))
    yield made
    made.machine.close()


def create(cloud: Cloud, name: str, text: str = "") -> Any:
    return cloud.post(NOTES, json={"note": {"name": name, "text": text}}, token=cloud.token())


def files(cloud: Cloud) -> dict[str, str]:
    return {path.name: path.read_text() for path in (cloud.directory / "notes").iterdir()}


def test_a_note_becomes_a_file_and_goes_again(cloud: Cloud, plugin: Any) -> None:
    sync = plugin.NoteFiles(cloud.control)
    sync.start()
    answer = create(cloud, "first", "hello")
    assert answer.status == 202
    note = answer.json["note"]
    assert note["status"] == "building"
    assert files(cloud) == {}

    cloud.reconcile(sync)
    path = f"{NOTES}/{note['id']}"
    assert cloud.get(path, token=cloud.token()).json["note"]["status"] == "active"
    assert files(cloud) == {note["id"]: "hello"}

    assert cloud.delete(path, token=cloud.token()).status == 202
    assert cloud.get(path, token=cloud.token()).json["note"]["status"] == "deleting"
    assert files(cloud) == {note["id"]: "hello"}
    cloud.reconcile(sync)
    assert files(cloud) == {}
    assert cloud.get(path, token=cloud.token()).status == 404


def test_the_world_is_mended_and_strangers_files_are_left_alone(cloud: Cloud, plugin: Any) -> None:
    sync = plugin.NoteFiles(cloud.control)
    sync.start()
    note_id = create(cloud, "first", "hello").json["note"]["id"]
    cloud.reconcile(sync)
    (cloud.directory / "notes" / note_id).write_text("scribbled over")
    (cloud.directory / "notes" / "unknown").write_text("whose is this?")
    cloud.reconcile(sync)
    assert files(cloud) == {note_id: "hello", "unknown": "whose is this?"}


def test_names_are_unique_in_a_project_and_quota_holds(cloud: Cloud, plugin: Any) -> None:
    first = create(cloud, "a")
    assert create(cloud, "a").status == 409
    assert create(cloud, "b").status == 202
    refused = create(cloud, "c")
    assert refused.status in (403, 413)
    assert "Quota" in refused.json["error"]["message"]
    cloud.delete(f"{NOTES}/{first.json['note']['id']}", token=cloud.token())
    sync = plugin.NoteFiles(cloud.control)
    sync.start()
    cloud.reconcile(sync)
    assert create(cloud, "c").status == 202


def test_others_neither_see_nor_touch_it(cloud: Cloud) -> None:
    path = f"{NOTES}/{create(cloud, 'mine').json['note']['id']}"
    other = cloud.token(project_id="other")
    assert cloud.get(path, token=other).status == 404
    assert cloud.delete(path, token=other).status == 404
    assert cloud.get(NOTES, token=other).json == {"notes": []}
    assert cloud.delete(path, token=cloud.token(roles=("reader",))).status == 404
    assert cloud.get(path, token=cloud.token(roles=("admin",), project_id="other")).status == 200


@pytest.mark.parametrize(
    "body", [{}, {"note": {}}, {"note": {"name": ""}}, {"note": {"name": "a", "x": 1}}]
)
def test_a_wrong_body_is_refused_by_name(cloud: Cloud, body: Any) -> None:
    answer = cloud.post(NOTES, json=body, token=cloud.token())
    assert answer.status == 400
    assert answer.json["error"]["code"] == 400


def test_it_is_found_when_pip_has_installed_it(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "site"
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"),
            *("--no-index", "--target", target, source),
        ],
        check=True,
        capture_output=True,
    )
    code = (
        "import json; from node.pluginhost import BUILTIN, PluginHost; host = PluginHost();"
        "host.load(blocked=('identity', 'image', 'network', 'compute'));"
        "print(json.dumps([[r.name, r.source, r.error] for r in host.reports]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": f"{target}:{REPO}"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert ["notes", "entry point", ""] in json.loads(done.stdout)


def test_a_plugin_that_cannot_be_loaded_is_reported_and_harms_no_other(tmp_path: Path) -> None:
    shutil.copy(EXAMPLE / "notes.py", tmp_path)
    (tmp_path / "broken.py").write_text("import no_such_module\n")
    (tmp_path / "misspelt.py").write_text(
        "from node.sdk import hookimpl\n@hookimpl\ndef servicess():\n    return []\n"
    )
    host = load_file(tmp_path)
    assert set(host.failures()) == {"broken", "misspelt"}
    assert "no_such_module" in host.failures()["broken"]
    assert "servicess" in host.failures()["misspelt"]
    assert [service.name for _n, some in host.gather("services") for service in some] == ["notes"]
