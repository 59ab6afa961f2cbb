from node.state.machine import Machine
from node.state.reader import Reader
from node.state.row import Resource, Table
from node.state.txn import *
class Port(Resource, frozen=True, kw_only=True):
    __table__ = Table(name="ports", indexes=(("network_id",),), unique=(("network_id","mac"),))
    network_id: str
    mac: str = ""
    up: bool = True
def test(tmp_path):
    m = Machine(tmp_path/"s.db", print)
    n=0
    def go(*ops, rid=None):
        nonlocal n; n+=1
        return decode_outcome(m.apply(n, encode_entry([encode_txn(Txn(request_id=rid or str(n), ops=ops))]))[0])
    assert go(Define(Port.__table__)) == Applied(seq=1)
    assert go(insert(Port(id="a", network_id="n", mac="m"))) == Applied(seq=2)
    assert go(insert(Port(id="a", network_id="n", mac="m2"))).reason == "exists"
    assert go(insert(Port(id="b", network_id="n", mac="m"))).reason == "unique"
    assert go(patch(Port,"a", up=False)) == Applied(seq=5)
    r = Reader(tmp_path/"s.db")
    p = r.get(Port,"a"); assert p.rev==5 and not p.up
    assert r.rows(Port, network_id="n", up=False) == [p]
    assert go(check(p), delete(Port,"a")) == Applied(seq=6)
    assert go(Count("q",2,3)) == Applied(seq=7)
    assert go(Count("q",2,3)).reason == "limit"
    assert go(Insert("nope","x","{}")).reason == "malformed"
    assert go(Insert("ports","x","{bad")).reason == "malformed"
    m.snapshot_to(tmp_path/"c.db")
