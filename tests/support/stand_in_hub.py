"""A hub on the loopback address: the parts of Hugging Face's HTTP interface that a fetch uses.

Large files (`LARGE` endings) are named by their SHA-256, others by git's SHA-1, as the hub does.
"""

import hashlib
import json
import re
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urlparse

LARGE = (".safetensors", ".tar", ".pth")
PATH = re.compile(r"/(?P<kind>datasets/)?(?P<repo>[^/]+/[^/]+)/resolve/(?P<rev>[^/]+)/(?P<file>.+)")
API = re.compile(r"/api/(?P<kind>models|datasets)/(?P<repo>[^/]+/[^/]+)/revision/(?P<rev>[^/]+)")


def blob_id(name: str, content: bytes) -> str:
    if name.endswith(LARGE):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Hub(ThreadingHTTPServer):
    """`repos`: {name: {commit: {file: content}}}; the last commit is main. `urls`: {path: bytes}.

    `requests` has a line for each request. `gated`: names that want the token "secret".
    `served`: {file: bytes} sent in place of the content; `pace`: {file: seconds per 64 KiB}.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.repos, self.urls, self.served, self.pace = {}, {}, {}, {}
        self.gated: set[str] = set()
        self.refusals: dict[str, tuple[int, str, str]] = {}  # repo, or file: status, code, message
        self.delay = 0.0  # seconds before each answer
        self.requests: list[str] = []
        self.licence = "apache-2.0"
        self.thread = Thread(target=self.serve_forever, daemon=True)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    def commit_of(self, repo: str, revision: str) -> str | None:
        commits = self.repos.get(repo, {})
        if revision == "main":
            return next(reversed(commits), None)
        return revision if revision in commits else None


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, *, body):
        path = unquote(urlparse(self.path).path)
        asked = self.headers.get("Range", "")
        self.server.requests.append(f"{self.command} {path} {asked}".strip())
        time.sleep(self.server.delay)
        if content := self.server.urls.get(path):
            return self.send_file(path, content, {}, body)
        if found := API.fullmatch(path):
            return self.send_info(**found.groupdict())
        if found := PATH.fullmatch(path):
            return self.send_repo_file(**found.groupdict(), body=body)
        return self.refuse(*self.server.refusals.get(path[1:], (404,)))

    def refuse(self, status, code=None, message=None):
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        if message:
            self.send_header("X-Error-Message", message)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def send_info(self, kind, repo, rev):
        if repo in self.server.refusals:
            return self.refuse(*self.server.refusals[repo])
        if repo not in self.server.repos:
            return self.refuse(404, "RepoNotFound")
        commit = self.server.commit_of(repo, rev)
        if commit is None:
            return self.refuse(404, "RevisionNotFound")
        files = []
        for name, content in self.server.repos[repo][commit].items():
            one = {"rfilename": name, "size": len(content), "blobId": blob_id("", content)}
            if name.endswith(LARGE):
                digest = blob_id(name, content)
                one["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 134}
            files.append(one)
        info = {"id": repo, "sha": commit, "siblings": files, "tags": [], "private": False}
        info |= {"cardData": {"license": self.server.licence}, "downloads": 0, "likes": 0}
        self.send_bytes(json.dumps(info).encode(), {"Content-Type": "application/json"}, True)

    def send_repo_file(self, kind, repo, rev, file, *, body):
        commit = self.server.commit_of(repo, rev)
        content = self.server.repos.get(repo, {}).get(commit, {}).get(file)
        if content is None:
            return self.refuse(404, "EntryNotFound")
        if repo in self.server.gated and self.headers.get("Authorization") != "Bearer secret":
            return self.refuse(401, "GatedRepo")
        headers = {"X-Repo-Commit": commit, "ETag": f'"{blob_id(file, content)}"'}
        self.send_file(file, self.server.served.get(file, content), headers, body)

    def send_file(self, name, content, headers, body):
        self.send_bytes(content, headers, body, self.server.pace.get(name, 0))

    def send_bytes(self, content, headers, body, pace=0.0):
        start, length = 0, len(content)
        if found := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start = int(found[1])
        self.send_response(206 if start else 200)
        if start:
            headers = headers | {"Content-Range": f"bytes {start}-{length - 1}/{length}"}
        for key, value in (headers | {"Content-Length": str(length - start)}).items():
            self.send_header(key, value)
        self.end_headers()
        if not body:
            return
        try:
            for at in range(start, length, 65536):
                self.wfile.write(content[at : at + 65536])
                time.sleep(pace)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the other side was killed
