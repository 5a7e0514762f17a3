"""EVKafka with its web server, and with the dashboard open. Option: the number of viewers.

The viewers are one other process, which reads every snapshot to its end; only the app's own CPU time counts.
"""

from __future__ import annotations

import subprocess
import sys
import threading

from bench.rows.evkafka_default import measured_app
from evkafka import EVKafkaApp

VIEWERS = """
import socket, sys, threading
def view(port):
    with socket.create_connection(("127.0.0.1", port)) as page:
        page.sendall(b"GET /ui/api/events HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
        while page.recv(65536):
            pass
viewers = [threading.Thread(target=view, args=(int(sys.argv[1]),)) for _ in range(int(sys.argv[2]))]
for viewer in viewers:
    viewer.start()
"""


def open_pages(app: EVKafkaApp, number: int, ended: threading.Event) -> None:
    """Wait until the app serves, and start the viewers."""
    while not ended.wait(0.02):
        if app.web_url is not None and app.started:
            port = app.web_url.rstrip("/").rpartition(":")[2]
            subprocess.Popen(
                [sys.executable, "-c", VIEWERS, port, str(number)]
            )  # it ends when the app closes its connections
            return


if __name__ == "__main__":
    viewers = int(sys.argv.pop())
    app, ended = measured_app(), threading.Event()
    app.web, app.web_port = True, 0
    if viewers:
        threading.Thread(target=open_pages, args=(app, viewers, ended), daemon=True).start()
    app.run()
