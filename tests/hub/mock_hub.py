"""A Hugging Face hub on this machine: the calls that huggingface_hub makes to read, to create and to commit."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml

_RESOLVE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
_INFO = re.compile(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?")
_COMMIT = re.compile(r"/api/models/([^/]+/[^/]+)/commit/([^/?]+)")


@dataclass
class Hub:
    """What the hub holds, and the method and path of every call."""

    address: str = ""
    repositories: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    """Name -> commit -> file -> content; the last commit is the main branch."""
    tags: dict[tuple[str, str], str] = field(default_factory=dict)  # (name, tag) -> commit
    gated: set[str] = field(default_factory=set)
    damaged: bool = False  # whether a byte of every large file flips on the way
    large: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    tokens: set[str | None] = field(default_factory=set)

    def commit(self, name: str, files: dict[str, bytes]) -> str:
        """Add a commit and return its hash."""
        commits = self.repositories.setdefault(name, {})
        number = hashlib.sha1(f"{name} {len(commits)}".encode()).hexdigest()
        commits[number] = {**(list(commits.values())[-1] if commits else {}), **files}
        return number


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def answer(self, status: int, body: bytes = b"{}", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer_json(self, value: Any, status: int = 200) -> None:
        self.answer(status, json.dumps(value).encode())

    def handle_call(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.hub.asked.append(f"{self.command} {self.path}")
        self.hub.tokens.add(self.headers.get("authorization"))
        if found := _RESOLVE.fullmatch(self.path):
            return self.resolve(*found.groups())
        if found := _INFO.fullmatch(self.path):
            commit = self.locate(found[1], found[2] or "main")
            return self.answer_json({"id": found[1], "sha": commit}) if commit else None
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            status = 409 if name in self.hub.repositories else 200
            self.hub.repositories.setdefault(name, {})
            return self.answer_json({"url": f"{self.hub.address}/{name}"}, status)
        if self.path == "/api/validate-yaml":
            head = json.loads(body)["content"].split("---\n")[1]
            return self.answer(200 if isinstance(yaml.safe_load(head), dict) else 400)
        if "/preupload/" in self.path:
            files = [{"path": file["path"], "shouldIgnore": False} for file in json.loads(body)["files"]]
            for file in files:
                file["uploadMode"] = "lfs" if file["path"].endswith(".safetensors") else "regular"
            return self.answer_json({"files": files})
        if self.path.endswith("/info/lfs/objects/batch"):
            objects = json.loads(body)["objects"]
            for one in objects:
                one["actions"] = {"upload": {"href": f"{self.hub.address}/large/{one['oid']}"}}
            return self.answer_json({"transfer": "basic", "objects": objects})
        if self.path.startswith("/large/"):
            self.hub.large[self.path.removeprefix("/large/")] = body
            return self.answer(200)
        if found := _COMMIT.match(self.path):
            return self.take_commit(found[1], body)
        self.answer(404, b'{"error": "the mock knows no such call"}')

    do_GET = do_HEAD = do_POST = do_PUT = handle_call

    def resolve(self, name: str, revision: str, file: str) -> None:
        if (commit := self.locate(name, revision)) is None:
            return None
        if name in self.hub.gated:
            return self.answer(403, X_Error_Code="GatedRepo")
        content = self.hub.repositories[name][commit].get(file)
        if content is None:
            return self.answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
        tag = hashlib.sha256(content).hexdigest()
        if self.hub.damaged and file.endswith(".safetensors"):
            content = content[:-1] + bytes([content[-1] ^ 1])
        self.answer(200, content, ETag=f'"{tag}"', X_Repo_Commit=commit)

    def locate(self, name: str, revision: str) -> str | None:
        """Return the commit, or answer that there is none."""
        if name not in self.hub.repositories:
            return self.answer(401, X_Error_Code="RepoNotFound")
        commits = self.hub.repositories[name]
        if revision == "main" and commits:
            return list(commits)[-1]
        commit = self.hub.tags.get((name, revision), revision)
        return commit if commit in commits else self.answer(404, X_Error_Code="RevisionNotFound")

    def take_commit(self, name: str, body: bytes) -> None:
        files = {}
        for entry in map(json.loads, body.splitlines()):
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.hub.large[value["oid"]]
        number = self.hub.commit(name, files)
        self.answer_json({"commitUrl": f"{self.hub.address}/{name}/commit/{number}", "commitOid": number})


@contextmanager
def serve() -> Iterator[Hub]:
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
