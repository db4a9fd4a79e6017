"""A stand-in for the controller: reports its version, and that it is ready two seconds after a restart."""

import http.server
import json
import pathlib
import ssl
import time

SINCE = time.monotonic()
RESTARTED = len(pathlib.Path("/run/virl2/starts").read_text().splitlines()) > 1


class Controller(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        version = pathlib.Path("/run/virl2/version")
        ready = not RESTARTED or time.monotonic() - SINCE > 2
        text = version.read_text().strip() if version.exists() else "2.9.0+build.3"
        body = json.dumps({"version": text, "ready": ready}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 443), Controller)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/etc/ssl/controller.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
