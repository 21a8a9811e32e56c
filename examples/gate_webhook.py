"""Run `fmce gate` whenever MLflow announces a new version: a receiver of its webhooks, by the standard library alone.

    FMCE_WEBHOOK_SECRET=… python examples/gate_webhook.py 8080 --policy gate.yaml --dataset folder:photos

What follows the port are options of `fmce gate`, but for --model, which the webhook names. docs/gate.md says how the
webhook is created.
"""

import os
import queue
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from fmce_mlflow.errors import WebhookRefused
from fmce_mlflow.gate.webhook import announced

SECRET, PORT, OPTIONS = os.environ.get("FMCE_WEBHOOK_SECRET", ""), int(sys.argv[1]), sys.argv[2:]
MOST = 2**20  # bytes of a request
models = queue.Queue()


class Receiver(BaseHTTPRequestHandler):
    """Answers at once, as MLflow waits for no evaluation; whatever was announced meanwhile, the gate finds."""

    timeout = 30

    def do_POST(self):
        size = self.headers.get("Content-Length") or ""
        body = self.rfile.read(int(size)) if size.isdecimal() and int(size) <= MOST else b""
        try:
            version = announced(self.headers, body, SECRET)
        except WebhookRefused as error:
            return self.answer(401, f"Refused: {error}.")
        if version is None:
            return self.answer(200, "Nothing to do for this event.")
        models.put(version.name)
        self.answer(202, f"Version {version.version} of {version.name} is to be evaluated.")

    def answer(self, status, text):
        print(text, flush=True)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args):
        """Said by `answer`."""


def work():
    while True:
        name = models.get()
        done = subprocess.run([sys.executable, "-m", "fmce_mlflow.cli", "gate", f"--model={name}", *OPTIONS])
        print(f"The gate of {name} has ended with {done.returncode}.", flush=True)


if __name__ == "__main__":
    if not SECRET:
        sys.exit("Set FMCE_WEBHOOK_SECRET to the secret that the webhook is created with.")
    threading.Thread(target=work, daemon=True).start()
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Receiver)
    print(f"Listening on port {server.server_port}.", flush=True)
    server.serve_forever()
