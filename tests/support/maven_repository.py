"""A local HTTP server that replaces the Maven repository."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from evkafka.broker.maven import MavenFile


class MavenRepository:
    """Serves `files` by path, and keeps the requested paths."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        repository = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                repository.asked.append(self.path)
                content = repository.files.get(self.path)
                self.send_response(404 if content is None else 200)
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, *arguments: object) -> None:
                """No output in tests."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def offer(self, file: MavenFile, content: bytes) -> None:
        self.files[f"/{file.group.replace('.', '/')}/{file.artifact}/{file.version}/{file.name}"] = content

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
