"""Containers as web sites: index pages, listings and error pages.

Source: https://docs.openstack.org/swift/latest/middleware.html#staticweb
"""

import copy

import msgspec

from node.plugins.object.store.contract import Query
from node.plugins.object.swift import object_read_api, staticweb_view
from node.plugins.object.swift.call import Call, truth
from node.plugins.object.swift.faults import Refusal, code_of, fault
from node.sdk import NodeError, Reply

HTML = "text/html; charset=UTF-8"


def page(call: Call) -> Reply | None:
    """Return a page of the site that a container is, or None where the request is none for a site."""
    if call.method not in ("GET", "HEAD") or not call.container_name:
        return None
    web_mode = truth(call.headers.get("x-web-mode", ""))
    by_prefix = call.access.grants is not None and call.param("temp_url_prefix") is not None
    if not (call.access.anonymous or web_mode or by_prefix):
        return None
    row = call.container_row
    if row is None or not any(name.startswith("web-") for name in row.meta):
        return None
    site = _Site(call, row.meta)
    try:
        if call.object_name:
            return site.object()
        if not (site.index or site.lists):
            if web_mode:
                raise Refusal(404)
            return None
        return site.root()
    except NodeError as error:
        return site.failed(error)


class _Site:
    """A container as a web site, for one request."""

    def __init__(self, call: Call, meta: dict[str, str]) -> None:
        self._call = call
        self.index = meta.get("web-index", "").strip()
        self.lists = truth(meta.get("web-listings", ""))
        self._css = meta.get("web-listings-css", "").strip()
        self._label = meta.get("web-listings-label", "").strip()
        self._error = meta.get("web-error", "").strip()
        self._directory_type = meta.get("web-directory-type", "").strip() or "application/directory"

    @property
    def _has_slash(self) -> bool:
        return self._call.ctx.raw_path.partition("?")[0].endswith("/")

    def root(self) -> Reply:
        """Return the page of the container itself."""
        if not self._has_slash:
            if not self.index:
                self._call.require("GET")
            return self._with_slash()
        if self.index:
            found = self._read(self.index)
            if found is not None:
                return found
        return self._listing("")

    def object(self) -> Reply:
        """Return an object, the index of a folder, or its listing."""
        call = self._call
        found = self._read(call.object_name)
        if found is not None and not self._is_folder(found):
            return found
        if not (self.index or self.lists):
            if found is not None:
                return found
            raise Refusal(404)
        folder = call.object_name.rstrip("/") + "/"
        if self.index:
            found = self._read(folder + self.index)
            if found is not None:
                return found if self._has_slash else self._with_slash()
        if not self._has_slash:
            query = Query(prefix=folder, delimiter="/", limit=1)
            if not call.store.list(call.container.id, query).items:
                raise Refusal(404)
            return self._with_slash()
        return self._listing(folder)

    def _is_folder(self, found: Reply) -> bool:
        length = found.length_bytes or len(found.body or b"") if found.file is None else 2
        return found.content_type == self._directory_type and length <= 1

    def _read(self, name: str) -> Reply | None:
        """Return an object, or None where there is none."""
        call = copy.copy(self._call)
        call.object_name = name
        try:
            return object_read_api.get(call)
        except Refusal as error:
            if error.code == 404:
                return None
            raise

    def _with_slash(self) -> Reply:
        path = self._call.ctx.raw_path.partition("?")[0] + "/"
        return Reply(
            status=301,
            body=b"<html><h1>Moved Permanently</h1><p>The resource has moved permanently.</p></html>",
            headers={"Location": path},
            content_type=HTML,
        )

    def _listing(self, folder: str) -> Reply:
        call = self._call
        label = f"/v1/{call.account}/{call.container_name}/{folder}"
        if self._label:
            label = f"{self._label}/{folder}"
        if not self.lists:
            body = staticweb_view.disabled(label, self.index, self._css_path(folder))
            raise Refusal(404, body, content_type=HTML)
        call.access.require("GET", call.project_id, call.container_row, "container")
        query = Query(prefix=folder, delimiter="/")
        items = call.store.list(call.container.id, query).items
        if folder and not items:
            raise Refusal(404)
        body = staticweb_view.listing(label, folder, items, self._css_path(folder))
        call.download_headers = {}
        return Reply(status=200, body=body.encode(), content_type=HTML)

    def _css_path(self, folder: str) -> str:
        if not self._css or self._css.startswith(("/", "http://", "https://")):
            return self._css
        return "../" * folder.count("/") + self._css

    def failed(self, error: NodeError) -> Reply:
        """Return the site's own page for an error, where it has one."""
        code = code_of(error)
        standard = fault(self._call.ctx, error)
        if not self._error or code not in (401, 404):
            return standard
        call = copy.copy(self._call)
        call.object_name = f"{code}{self._error}"
        call.headers = {
            n: v for n, v in call.headers.items() if n != "range" and not n.startswith("if-")
        }
        try:
            found = object_read_api.get(call)
        except NodeError:
            return standard
        kept = {n: v for n, v in standard.headers.items() if n.lower() == "www-authenticate"}
        return msgspec.structs.replace(found, status=code, headers={**found.headers, **kept})
