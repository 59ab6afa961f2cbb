"""Send one request, signed in as the administrator: argv[1] is JSON, prints [status, body]."""

import json
import os
import sys
import urllib.error
import urllib.request


def send(
    method: str, url: str, body: object, token: str = "", upload_bytes: int = 0
) -> tuple[int, object, str]:
    data = None if body is None else json.dumps(body).encode()
    content_type = "application/json"
    if upload_bytes:
        data, content_type = os.urandom(upload_bytes), "application/octet-stream"
    request = urllib.request.Request(url, data, {"Content-Type": content_type}, method=method)
    if token:
        request.add_header("X-Auth-Token", token)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
            status, found = answer.status, answer.headers.get("X-Subject-Token", "")
    except urllib.error.HTTPError as error:
        text, status, found = error.read(), error.code, ""
    return status, json.loads(text) if text else None, found


call = json.loads(sys.argv[1])
domain = {"id": "default"}
login = {
    "auth": {
        "identity": {
            "methods": ["password"],
            "password": {"user": {"name": "admin", "domain": domain, "password": call["password"]}},
        },
        "scope": {"project": {"name": "admin", "domain": domain}},
    }
}
status, _body, token = send("POST", call["url"] + "/auth/tokens", login)
if status != 201:
    sys.exit(f"sign-in answered {status}")
base = call["url"].removesuffix("/identity/v3")
status, body, _token = send(
    call["method"], base + call["path"], call["body"], token, call["upload_bytes"]
)
print(json.dumps([status, body]))
