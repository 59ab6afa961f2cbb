"""The product's public surface: everything that a plugin may import, re-exported."""

from node.api.context import Context, Token
from node.api.route import Microversions, Reply, Route, Service
from node.clock import Clock, iso_utc, parse_iso
from node.config import ApiSection, Config, NodeSection
from node.contracts import (
    FixedIp,
    ImageFacts,
    ImageSource,
    PortPlan,
    PortRequest,
    PortState,
    PortWish,
    ServerMetadata,
)
from node.control.placement import NodeRow, PlacementRequest, choose
from node.control.reconciler import Control, Done, Reconciler
from node.errors import (
    BadRequest,
    ClientGone,
    Conflict,
    DiskFull,
    Forbidden,
    Gone,
    LengthRequired,
    MethodNotAllowed,
    NodeError,
    NotAcceptable,
    NotFound,
    NotImplementedHere,
    OverQuota,
    PreconditionFailed,
    RangeNotSatisfiable,
    TooLarge,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
)
from node.hookspecs import hookimpl
from node.ids import Ids
from node.state.reader import Reader
from node.state.row import Resource, Row, Table
from node.state.txn import (
    AnyOp,
    Applied,
    Check,
    Count,
    Delete,
    Insert,
    Patch,
    Put,
    Refused,
    check,
    delete,
    insert,
    patch,
    put,
)
from node.types import Frozen, Micros, NodeId

__all__ = [name for name in dir() if not name.startswith("_")]
