"""The framework with a plugin of a few lines."""
from node.sdk import *
from node.testing import Cloud
import sys
class Thing(Resource, frozen=True, kw_only=True):
    __table__ = Table(name="things", unique=(("name","project_id"),))
    name: str
class Body(Frozen, forbid_unknown_fields=True):
    name: str
def create(ctx):
    t = Thing(id=ctx.ids.uuid(), name=ctx.body.name, project_id=ctx.project_id, created_at=ctx.now())
    ctx.transact(lambda: ([Count(f"q:{ctx.project_id}",1,2), insert(t)], None), refused=lambda r: Conflict("dup") if r.reason=="unique" else None)
    return {"thing": {"id": t.id}}
def show(ctx, thing_id):
    t = ctx.find(Thing, thing_id, f"no thing {thing_id}")
    ctx.require("thing:show", t)
    return {"name": t.name}
def fault(ctx, error): return Reply(status=error.status, body={"error": error.message})
class P:
    @hookimpl
    def row_types(self): return [Thing]
    @hookimpl
    def services(self): return [Service(name="thing", type="thing", path="/thing", endpoint="/thing", fault=fault,
        routes=(Route("POST","/v1/things",create,"thing:create",body=Body,status=201) if False else Route(method="POST",path="/v1/things",handler=create,policy="thing:create",body=Body,status=201),
         Route(method="GET",path="/v1/things/{thing_id}",handler=show,policy="any")), policies={"thing:create":"role:member","thing:show":"project_id:%(project_id)s"})]
def test(tmp_path):
    c = Cloud(tmp_path, [P()])
    t = c.token()
    r = c.post("/thing/v1/things", json={"name":"x"}, token=t)
    assert r.status == 201, r.body
    assert c.get("/thing/v1/things/"+r.json["thing"]["id"], token=t).json == {"name":"x"}
    assert c.get("/thing/v1/things/"+r.json["thing"]["id"], token=c.token(project_id="o")).status == 403
    assert c.post("/thing/v1/things", json={"name":"x"}, token=t).status == 409
    assert c.post("/thing/v1/things", json={"nam":"x"}, token=t).status == 400
    assert c.post("/thing/v1/things", json={"name":"y"}, token=t).status == 201
    r= c.post("/thing/v1/things", json={"name":"z"}, token=t)
    assert r.status == 403 and "x-openstack-request-id" in r.headers
    assert c.post("/thing/v1/things", json={"name":"z"}).status == 401
    assert c.get("/thing/v1/nope", token=t).status == 404
    assert c.delete("/thing/v1/things", token=t).status == 405
    assert c.get("/thing/v1/nope", token="bad").status == 401
    assert c.get("/").status == 200 and c.get("/openapi.json").status == 200
    assert c.get("/zzz").status == 404
