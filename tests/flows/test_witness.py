"""What the witness of a run asks a server for that is busy, lost or of another opinion."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.error import HTTPError

import pytest

from flows.witness import Api

RUNNING = {"state_type": "RUNNING"}


class Server(ThreadingHTTPServer):
    """Answers with the statuses that it was given, and with a running flow run from then on."""

    def __init__(self, statuses: list[int]) -> None:
        self.statuses = statuses
        self.asked: list[tuple[str, Any]] = []
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length)) if length else None
        self.server.asked.append((self.path, body))
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        answer = json.dumps(RUNNING).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()


@pytest.fixture
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server(request.param) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def api(server: Server) -> Api:
    return Api(f"http://127.0.0.1:{server.server_port}")


@pytest.mark.parametrize("server", [[503], [200, 503]], indirect=True, ids=["asking", "telling"])
def test_a_server_that_is_busy_is_asked_again(server: Server) -> None:
    api(server).conclude("lost", "it was killed")
    (path, told) = server.asked[-1]
    assert len(server.asked) == 3
    assert path == "/flow_runs/lost/set_state"
    assert told["state"]["type"] == "CRASHED"
    assert server.statuses == []


@pytest.mark.parametrize("server", [[404]], indirect=True)
def test_a_run_that_the_server_does_not_know_needs_no_state(server: Server) -> None:
    api(server).conclude("unknown", "it was killed")
    assert len(server.asked) == 1


@pytest.mark.parametrize("server", [[401]], indirect=True)
def test_a_refusal_is_final(server: Server) -> None:
    with pytest.raises(HTTPError):
        api(server).conclude("lost", "it was killed")
    assert len(server.asked) == 1
