"""The reconciler of servers, with real files and a hypervisor in memory."""

import shutil
from pathlib import Path

import msgspec
import pytest

from node.errors import Unavailable
from node.plugins.compute import names
from node.plugins.compute.drivers.hypervisor import DomainState, HypervisorGone, HypervisorRefused
from node.plugins.compute.hypervisor_config import HypervisorSection
from node.plugins.compute.tables import FlavorFacts, Server, ServerAction, ServerGone
from node.state.txn import delete, patch
from node.testing.compute_plane import IMAGE, Plane, port_state


class Crash(Exception):
    """The process dies here."""


def test_a_build_ends_active(plane: Plane) -> None:
    server_id = plane.add()
    row = plane.settle(server_id)
    assert (row.have, row.power, row.job_done, row.fault) == ("active", 1, 1, "")
    assert row.launched_at > 0
    assert names.disk_path(plane.directory, server_id).exists()
    action = plane.cloud.db.must(ServerAction, f"{server_id}/1")
    assert action.events[0].result == "Success"
    assert plane.world.open_sources == 0


def test_a_build_waits_for_its_ports(plane: Plane) -> None:
    server_id = plane.add()
    plane.world.ports[server_id] = [port_state("tap1", plugged=False)]
    assert plane.look(server_id) is not None
    assert plane.look(server_id) is not None
    assert plane.row(server_id).job_step == "networking"
    assert plane.hypervisor.states == {}
    plane.world.ports[server_id] = [port_state("tap1")]
    assert plane.settle(server_id).have == "active"
    assert plane.hypervisor.plans[server_id].interfaces[0].tap == "tap1"


def test_a_port_that_never_comes_fails_the_build(plane: Plane) -> None:
    server_id = plane.add()
    plane.world.ports[server_id] = [port_state("tap1", plugged=False)]
    plane.look(server_id)
    plane.cloud.clock.advance(301)
    row = plane.settle(server_id)
    assert row.have == "error"
    assert "port-tap1" in row.fault
    assert plane.cloud.db.must(ServerAction, f"{server_id}/1").message == "Error"


def test_a_missing_image_is_named(plane: Plane) -> None:
    row = plane.settle(plane.add(image_id="no-such"))
    assert row.have == "error"
    assert "no-such" in row.fault
    assert row.job_done == row.job


def test_a_corrupt_image_is_named(plane: Plane) -> None:
    bad = plane.directory / "bad.qcow2"
    bad.write_bytes(b"QFI\xfb" + b"\xff" * 4096)
    plane.world.image_files["bad"] = (bad, "qcow2")
    row = plane.settle(plane.add(image_id="bad"))
    assert row.have == "error"
    assert "Image bad cannot be used" in row.fault
    assert plane.world.open_sources == 0


def test_a_flavor_too_small_is_said(plane: Plane) -> None:
    big = plane.directory / "big.raw"
    with big.open("wb") as file:
        file.truncate(2 * 2**30)
    plane.world.image_files["big"] = (big, "raw")
    row = plane.settle(plane.add(image_id="big"))
    assert "Flavor's disk is too small" in row.fault


def test_a_refusing_hypervisor_ends_in_error_and_a_missing_one_does_not(plane: Plane) -> None:
    server_id = plane.add()
    plane.hypervisor.fail_next("start", HypervisorGone("away"))
    with pytest.raises(Unavailable):
        plane.look(server_id)
    assert plane.row(server_id).job_done == 0
    plane.hypervisor.fail_next("start", HypervisorRefused("no such machine type"))
    row = plane.settle(server_id)
    assert (row.have, row.fault) == ("error", "no such machine type")


def test_stop_asks_the_guest_first(plane: Plane) -> None:
    server_id = plane.running()
    plane.job(server_id, "stop", want="stopped")
    row = plane.settle(server_id)
    assert (row.have, row.power) == ("stopped", 4)
    assert ("press_power", server_id) in plane.hypervisor.calls
    assert ("destroy", server_id) not in plane.hypervisor.calls


def test_stop_ends_a_deaf_guest_after_the_timeout(plane: Plane) -> None:
    server_id = plane.running()
    plane.hypervisor.obeys_power_button = False
    plane.job(server_id, "stop", want="stopped")
    began = plane.cloud.clock.monotonic_s()
    row = plane.settle(server_id)
    assert row.have == "stopped"
    assert 60 <= plane.cloud.clock.monotonic_s() - began < 65
    presses = [call for call in plane.hypervisor.calls if call == ("press_power", server_id)]
    assert len(presses) >= 6


def test_start_brings_a_stopped_server_back(plane: Plane) -> None:
    server_id = plane.running()
    plane.job(server_id, "stop", want="stopped")
    plane.settle(server_id)
    plane.job(server_id, "start", want="active")
    assert plane.settle(server_id).have == "active"


@pytest.mark.parametrize("kind", ["reboot_soft", "reboot_hard"])
def test_reboot_restarts_once(plane: Plane, kind: str) -> None:
    server_id = plane.running()
    plane.job(server_id, kind)
    assert plane.settle(server_id).have == "active"
    assert plane.hypervisor.calls.count(("start", server_id)) == 2
    assert (("press_power", server_id) in plane.hypervisor.calls) == (kind == "reboot_soft")


def test_a_guest_that_a_new_libvirtd_ended_is_started_again(plane: Plane) -> None:
    server_id = plane.running()
    plane.hypervisor.states[server_id] = DomainState(power="shutoff", reason="daemon")
    plane.look(server_id)
    assert plane.row(server_id).have == "active"
    assert plane.hypervisor.states[server_id].power == "running"
    plane.hypervisor.states[server_id] = DomainState(power="shutoff", reason="shutdown")
    plane.look(server_id)
    assert plane.row(server_id).have == "stopped", "it switched itself off"


def test_a_soft_reboot_of_a_deaf_guest_becomes_hard(plane: Plane) -> None:
    server_id = plane.running()
    plane.hypervisor.obeys_power_button = False
    plane.job(server_id, "reboot_soft")
    assert plane.settle(server_id).have == "active"
    assert ("destroy", server_id) in plane.hypervisor.calls


def test_a_hard_reboot_supersedes_a_soft_one(plane: Plane) -> None:
    server_id = plane.running()
    plane.hypervisor.obeys_power_button = False
    plane.job(server_id, "reboot_soft")
    plane.look(server_id)
    plane.job(server_id, "reboot_hard")
    began = plane.cloud.clock.monotonic_s()
    assert plane.settle(server_id).have == "active"
    assert plane.cloud.clock.monotonic_s() == began


def test_pause_and_suspend_and_back(plane: Plane) -> None:
    server_id = plane.running()
    for kind, have, power in [
        ("pause", "paused", 3),
        ("unpause", "active", 1),
        ("suspend", "suspended", 4),
        ("resume", "active", 1),
    ]:
        plane.job(server_id, kind)
        row = plane.settle(server_id)
        assert (row.have, row.power, row.fault) == (have, power, "")


def test_a_hard_reboot_of_a_suspended_server_drops_its_memory(plane: Plane) -> None:
    server_id = plane.running()
    plane.job(server_id, "suspend")
    plane.settle(server_id)
    plane.job(server_id, "reboot_hard")
    assert plane.settle(server_id).have == "active"
    assert ("undefine", server_id) in plane.hypervisor.calls


def test_a_rebuild_makes_the_disk_anew(plane: Plane) -> None:
    server_id = plane.running()
    disk = names.disk_path(plane.directory, server_id)
    before = disk.stat().st_ino
    disk.write_bytes(b"dirt")
    plane.job(server_id, "rebuild")
    assert plane.settle(server_id).have == "active"
    assert disk.read_bytes()[:4] == b"QFI\xfb"
    assert before is not None


def test_a_guest_that_switches_itself_off_stays_off(plane: Plane) -> None:
    server_id = plane.running()
    plane.hypervisor.power_off(server_id)
    assert ("servers", server_id) in plane.cloud.control.woken
    row = plane.settle(server_id)
    assert (row.have, row.power, row.want) == ("stopped", 4, "active")
    plane.restart()
    assert plane.settle(server_id).have == "stopped"


def test_a_crashed_guest_is_stopped_with_power_state_crashed(plane: Plane) -> None:
    server_id = plane.running()
    plane.hypervisor.power_off(server_id, "crashed")
    row = plane.settle(server_id)
    assert (row.have, row.power) == ("stopped", 6)


def _reboot_machine(plane: Plane, server_id: str) -> None:
    record = plane.files.record(server_id)
    plane.files.remember(server_id, msgspec.structs.replace(record, boot_id="the boot before"))
    plane.hypervisor.states[server_id] = DomainState(power="shutoff", reason="unknown")
    plane.restart()


def test_a_guest_halted_by_a_full_disk_goes_on_once_there_is_room(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    server_id = plane.add()
    plane.settle(server_id)
    plane.hypervisor.halt(server_id)
    usage = shutil.disk_usage(plane.directory)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=1 << 20))
    assert plane.look(server_id) is not None
    assert (plane.row(server_id).have, plane.row(server_id).power) == ("active", 3)
    assert plane.look(server_id) is not None
    assert ("unpause", server_id) not in plane.hypervisor.calls
    monkeypatch.undo()
    row = plane.settle(server_id)
    assert (row.have, row.power) == ("active", 1)
    assert plane.hypervisor.calls[-1] == ("unpause", server_id)


def test_what_it_made_is_listed(plane: Plane) -> None:
    server_id = plane.add()
    plane.settle(server_id)
    assert plane.sync.world() == {
        "domains": [server_id],
        "server directories": [server_id],
        "strangers": [],
    }
    plane.cloud.commit(delete(Server, server_id))
    plane.look(server_id)
    assert plane.sync.world()["strangers"] == [server_id]


def test_a_guest_that_was_paused_stays_so(plane: Plane) -> None:
    server_id = plane.add()
    plane.settle(server_id)
    plane.hypervisor.pause(server_id)
    assert (plane.settle(server_id).have, plane.row(server_id).power) == ("paused", 3)


def test_what_ran_before_the_machines_boot_runs_again(plane: Plane) -> None:
    server_id = plane.running()
    _reboot_machine(plane, server_id)
    row = plane.settle(server_id)
    assert (row.have, row.power) == ("active", 1)
    assert plane.hypervisor.states[server_id].power == "running"


def test_it_does_not_where_the_operator_says_so(plane: Plane) -> None:
    server_id = plane.running()
    config = plane.cloud.control.config
    config._sections["hypervisor"] = HypervisorSection(resume_guests_on_host_boot=False)
    _reboot_machine(plane, server_id)
    assert plane.settle(server_id).have == "stopped"


def test_delete_leaves_nothing(plane: Plane) -> None:
    server_id = plane.running()
    plane.cloud.commit(patch(Server, server_id, want="absent"))
    plane.look(server_id)
    assert plane.cloud.db.get(Server, server_id) is None
    assert plane.cloud.db.get(ServerGone, server_id) is not None
    assert plane.cloud.db.counter("quota:p:instances") == 0
    assert plane.hypervisor.plans == {}
    assert plane.files.server_ids() == []
    assert list((plane.directory / "instances" / "_base").iterdir()) == []
    assert plane.world.released == [server_id]


def test_a_base_stays_while_another_server_rests_on_it(plane: Plane) -> None:
    first, second = plane.running(), plane.running()
    plane.cloud.commit(patch(Server, first, want="absent"))
    plane.look(first)
    assert plane.files.find_base(IMAGE) is not None
    plane.cloud.commit(patch(Server, second, want="absent"))
    plane.look(second)
    assert plane.files.find_base(IMAGE) is None


def test_an_image_that_is_gone_still_serves_a_base_that_is_here(plane: Plane) -> None:
    plane.running()
    path, _ = plane.world.image_files.pop(IMAGE)
    path.unlink()
    assert plane.settle(plane.add()).have == "active"


def test_a_missing_row_costs_nothing(plane: Plane) -> None:
    server_id = plane.running()
    plane.cloud.commit(delete(Server, server_id))
    plane.restart()
    for key in list(plane.sync.keys()):
        plane.look(key)
    assert plane.sync.strangers == [server_id]
    assert plane.hypervisor.states[server_id].power == "running"
    assert plane.files.exists(server_id)


VERBS = ["define", "start"]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("verb", VERBS)
def test_a_build_killed_at_any_verb_converges(plane: Plane, verb: str, after: bool) -> None:
    server_id = plane.add()
    plane.hypervisor.fail_next(verb, Crash(), after=after)
    with pytest.raises(Crash):
        plane.look(server_id)
    plane.restart()
    assert plane.settle(server_id).have == "active"


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("verb", ["destroy", "define", "start"])
def test_a_hard_reboot_killed_at_any_verb_converges(plane: Plane, verb: str, after: bool) -> None:
    server_id = plane.running()
    plane.job(server_id, "reboot_hard")
    plane.hypervisor.fail_next(verb, Crash(), after=after)
    with pytest.raises(Crash):
        plane.look(server_id)
    plane.restart()
    assert plane.settle(server_id).have == "active"
    assert plane.hypervisor.calls.count(("start", server_id)) == 2
    assert plane.hypervisor.calls.count(("destroy", server_id)) == 1


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("verb", ["destroy", "undefine"])
def test_a_delete_killed_at_any_verb_converges(plane: Plane, verb: str, after: bool) -> None:
    server_id = plane.running()
    plane.cloud.commit(patch(Server, server_id, want="absent"))
    plane.hypervisor.fail_next(verb, Crash(), after=after)
    with pytest.raises(Crash):
        plane.look(server_id)
    plane.restart()
    plane.look(server_id)
    assert plane.cloud.db.get(Server, server_id) is None
    assert plane.files.server_ids() == []


def test_a_start_that_was_cut_off_is_cleared_away(plane: Plane) -> None:
    server_id = plane.add()
    plane.hypervisor.fail_next("start", HypervisorGone("libvirtd was killed"))
    with pytest.raises(Unavailable):
        plane.look(server_id)
    plane.hypervisor.states[server_id] = DomainState(power="starting")
    assert plane.settle(server_id).have == "active"
    assert ("destroy", server_id) in plane.hypervisor.calls
    assert plane.hypervisor.states[server_id].power == "running"


def test_a_lost_report_is_made_again_without_a_second_boot(plane: Plane) -> None:
    server_id = plane.add()
    plane.sync.reconcile(server_id)
    plane.restart()
    assert plane.settle(server_id).have == "active"
    assert plane.hypervisor.calls.count(("start", server_id)) == 1


def test_extra_disks_and_config_drive_are_made(plane: Plane) -> None:
    flavor = FlavorFacts(
        id="2", name="x", vcpus=1, memory_mib=128, disk_gib=1, ephemeral_gib=1, swap_mib=16
    )
    server_id = plane.add(flavor=flavor, config_drive=True)
    assert plane.settle(server_id).have == "active"
    targets = [disk.target for disk in plane.hypervisor.plans[server_id].disks]
    assert targets == ["vda", "vdb", "vdc", "vdz"]
    for disk in plane.hypervisor.plans[server_id].disks:
        assert Path(disk.path).exists()
