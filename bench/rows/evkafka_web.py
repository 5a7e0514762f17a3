"""EVKafka with its web server: metrics are counted, and scraped every second."""

from __future__ import annotations

import threading
import urllib.request

from bench.rows.evkafka_default import measured_app
from evkafka import EVKafkaApp


def scrape(app: EVKafkaApp, ended: threading.Event) -> None:
    while not ended.wait(1.0):
        if (url := app.web_url) is not None:
            with urllib.request.urlopen(f"{url}metrics", timeout=5) as response:
                response.read()


if __name__ == "__main__":
    app, ended = measured_app(), threading.Event()
    app.web, app.web_port = True, 0
    threading.Thread(target=scrape, args=(app, ended), daemon=True).start()
    app.run()
