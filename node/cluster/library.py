"""What of pysyncobj is leaned on: its pinned version, its private names, its settings, its replaced globals."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pysyncobj.syncobj as library
from pysyncobj import SyncObjConf
from pysyncobj.version import VERSION

import node.cluster.undamaged  # noqa: F401 - see there
from node.cluster.compaction import ClusterFault, Diverged, SnapSerializer
from node.cluster.journal import SqliteJournal
from node.cluster.poller import EpollPoller
from node.cluster.settings import RaftSettings

__all__ = [
    "MAX_ENTRY_BYTES",
    "ClusterFault",
    "Diverged",
    "check_library",
    "configuration",
    "replaced",
]

PINNED_VERSION = "0.3.17"
_PRIVATE_METHODS = (
    "applyLogEntries",
    "changeCluster",
    "connectedToAnyone",
    "doApplyCommand",
    "doChangeCluster",
    "generateRaftTimeout",
    "loadDumpFile",
    "onBecomeLeader",
    "onLeaderChanged",
    "sendAppendEntries",
    "setCurrentTerm",
    "setState",
    "tryLogCompaction",
)
_PRIVATE_FIELDS = (
    "changeClusterIDx",
    "commandsWaitingCommit",
    "commandsWaitingReply",
    "lastResponseTime",
    "newAppendEntriesTime",
    "noopIDx",
    "otherNodes",
    "raftCommitIndex",
    "raftElectionDeadline",
    "raftLastApplied",
    "raftLeader",
    "raftLog",
    "raftMatchIndex",
    "raftNextIndex",
    "raftState",
    "selfNode",
    "serializer",
    "transferInProgress",
    "transport",
)
_REPLACED_GLOBALS = ("createJournal", "Serializer", "createPoller")
_CALLS = (("applyLogEntries", "doApplyCommand"), ("changeCluster", "doChangeCluster"))
MAX_ENTRY_BYTES = 1024 * 1024

_construction = threading.Lock()


def check_library(version: str = VERSION, sync_obj: type = library.SyncObj) -> None:
    """Refuse another pysyncobj than the one whose inside was studied.

    Raises:
        ClusterFault: the version or a private name differs.
    """
    if version != PINNED_VERSION:
        raise ClusterFault(
            f"pysyncobj is {version}, this needs exactly {PINNED_VERSION}: install that version"
        )
    missing = [name for name in _PRIVATE_METHODS if not hasattr(sync_obj, f"_SyncObj__{name}")]
    known = set(sync_obj.__init__.__code__.co_names)  # type: ignore[misc]
    missing += [name for name in _PRIVATE_FIELDS if f"_SyncObj__{name}" not in known]
    missing += [name for name in _REPLACED_GLOBALS if name not in known]
    for caller, called in _CALLS:
        method = getattr(sync_obj, f"_SyncObj__{caller}", None)
        if method is not None and f"_SyncObj__{called}" not in method.__code__.co_names:
            missing.append(f"the call of {called}")
    if missing:
        raise ClusterFault(f"pysyncobj was changed, it lacks {', '.join(missing)}: install it anew")


def configuration(settings: RaftSettings) -> SyncObjConf:
    """Return the library's settings."""
    return SyncObjConf(
        autoTick=False,
        dynamicMembershipChange=True,
        commandsWaitLeader=False,
        appendEntriesUseBatch=False,
        appendEntriesBatchSizeBytes=MAX_ENTRY_BYTES,
        raftMinTimeout=settings.election_min_s,
        raftMaxTimeout=settings.election_max_s,
        appendEntriesPeriod=settings.heartbeat_s,
        leaderFallbackTimeout=settings.leader_fallback_s,
        connectionTimeout=max(2.0, settings.election_max_s),
        connectionRetryTime=0.5,
        logCompactionMinEntries=settings.compaction_min_entries + settings.tail_entries,
        logCompactionMinTime=settings.compaction_min_time_s,
        useFork=False,
    )


@contextmanager
def replaced(
    journal: SqliteJournal, serializer: SnapSerializer, poller: EpollPoller
) -> Iterator[None]:
    """Make the library's constructor use our journal, serializer and poller."""
    with _construction:
        saved = library.createJournal, library.Serializer, library.createPoller
        library.createJournal = lambda _: journal
        library.Serializer = lambda *_: serializer
        library.createPoller = lambda _: poller
        try:
            yield
        finally:
            library.createJournal, library.Serializer, library.createPoller = saved
