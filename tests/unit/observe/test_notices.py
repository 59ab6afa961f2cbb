"""What one process notes, another one reads."""

from pathlib import Path

from node.observe.notices import begin, heard
from node.pluginhost import PluginHost, PluginReport


def report(number: int, error: str = "bad") -> PluginReport:
    return PluginReport(name=f"p{number}", source="hook x", error=error)


def test_notices_are_read_in_order_and_forgotten_at_the_next_start(tmp_path: Path) -> None:
    assert heard(tmp_path, PluginReport) == []
    note = begin(tmp_path)
    assert heard(tmp_path, PluginReport) == []
    note(report(1))
    note(report(2))
    assert heard(tmp_path, PluginReport) == [report(1), report(2)]
    begin(tmp_path)
    assert heard(tmp_path, PluginReport) == []


def test_a_flood_has_an_end_and_a_torn_line_harms_no_other(tmp_path: Path) -> None:
    note = begin(tmp_path)
    for number in range(100):
        note(report(number, "x" * 1000))
    assert 50 < len(heard(tmp_path, PluginReport)) < 70
    begin(tmp_path)
    (tmp_path / "api-notices.jsonl").write_bytes(b'{"name": "p\n')
    note(report(1))
    assert heard(tmp_path, PluginReport) == [report(1)]


def test_a_place_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    note = begin(tmp_path / "none")
    note(report(1))
    assert heard(tmp_path / "none", PluginReport) == []


def test_a_host_hands_on_what_goes_wrong_after_its_start(tmp_path: Path) -> None:
    host = PluginHost()
    host.report("early", "hook a", ValueError("one"))
    host.notice_to(begin(tmp_path))
    host.report("late", "hook b", ValueError("two"))
    found = heard(tmp_path, PluginReport)
    assert [(r.name, r.error) for r in found] == [
        ("early", "ValueError: one"),
        ("late", "ValueError: two"),
    ]
    core = PluginHost()
    core.report("early", "hook a", ValueError("one"))
    merged = core.with_heard(found)
    assert [(r.name, r.source) for r in merged] == [("early", "hook a"), ("late", "API: hook b")]
