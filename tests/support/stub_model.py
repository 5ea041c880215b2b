"""A model that answers from truth, with chosen faults, and its server on the loopback address.

It knows an expression by the tag at the end of its text, `#17`, which `tagged` puts there.
"""

import json
import random
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from rvos.ask.calls import Reply
from rvos.masks import read_json, write_json

REASONS = ("category", "number", "attribute", "action", "order")


def tagged(meta_file):
    """Give each expression of a meta file a tag; returns {tag: (video, expression_id)}."""
    meta, tags = read_json(meta_file), {}
    for video, of_video in meta["videos"].items():
        for key, expression in of_video["expressions"].items():
            tags[len(tags)] = (video, key)
            expression["exp"] += f" #{len(tags) - 1}"
    write_json(meta_file, meta)
    return tags


class StubModel:
    """`truth`: {tag: decision}. Of all replies the share `error` is another one, drawn anew for
    each juror and question."""

    def __init__(self, truth, *, error=0.0, seed=0):
        self.truth, self.error, self.seed = truth, error, seed

    def put(self, request):
        """As `Caller`, without a server."""
        return Reply(self.reply(request), True, 0, "")

    def reply(self, request):
        text = request["messages"][1]["content"][-1]["text"]
        draw = random.Random(f"{self.seed}/{request['model']}/{request.get('seed')}/{text}")
        truth = self.truth[int(re.search(r'#(\d+)"', text)[1])]
        wrong = draw.random() < self.error
        numbers = re.search(r"these candidates: ([\d, ]+)\.", text)
        if numbers is None:
            if truth["present"] != wrong:
                return json.dumps({"present": True})
            return json.dumps({"present": False, "reason": draw.choice(REASONS)})
        asked = [int(i) for i in numbers[1].split(",")]
        right = {i for i in asked if i in truth["masklets"]}
        accepted = right
        while wrong and accepted == right:
            accepted = {i for i in asked if draw.random() < 0.5}
        rejected = [i for i in asked if i not in accepted]
        return json.dumps({"accepted": sorted(accepted), "rejected": rejected, "uncertain": []})


def chat(text, *, finish="stop", tokens=None):
    """The body of a server's answer."""
    message = {"index": 0, "message": {"role": "assistant", "content": text}}
    answer = {"id": "x", "object": "chat.completion", "created": 0, "model": "stub"}
    answer["choices"] = [message | {"finish_reason": finish}]
    if tokens is not None:
        answer["usage"] = {"prompt_tokens": tokens, "completion_tokens": 0, "total_tokens": tokens}
    return json.dumps(answer).encode()


class StubServer:
    """Serves `answer(request, number of the call) -> (status, body)` as OpenAI's protocol.

    `sent` has the text of all requests that came; headers say nothing of a wait, so that the
    client's own is short.
    """

    def __init__(self, answer, *, delay=0.0):
        self.sent, self.keys, outer = [], set(), self
        lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                length = int(self.headers["Content-Length"])
                body = self.rfile.read(length)
                if len(body) < length:  # the client was killed while it sent
                    self.close_connection = True
                    return
                with lock:
                    outer.sent.append(body)
                    outer.keys.add(self.headers["Authorization"])
                    number = len(outer.sent) - 1
                time.sleep(delay)
                status, answered = answer(json.loads(body), number)
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(answered)))
                    self.send_header("retry-after-ms", "10")
                    self.end_headers()
                    self.wfile.write(answered)
                except OSError:  # the client was killed, or did not wait
                    self.close_connection = True

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                if not isinstance(sys.exc_info()[1], ConnectionError):  # of a killed client
                    raise

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
