"""A site with a talk button: serves index.html, and makes a secret for each visitor that calls.

pip install 'duplex-r1[webrtc]'; duplex serve
python examples/web_page/site.py 8000       # http://127.0.0.1:8000

On another machine the server needs TLS, and this site's address in access.origins.
"""

import json
import os
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import Request, urlopen

SERVER = os.environ.get("DUPLEX_SERVER", "http://127.0.0.1:8765")
SESSION = {
    "instructions": "You speak with a visitor of the page of Doctor Ng's practice. Be brief.",
    "audio": {"input": {"transcription": {"model": "whisper-1"}}},
    "duplex": {"greeting": "Doctor Ng's practice. What can I do for you?"},
}


class Site(SimpleHTTPRequestHandler):
    """The page, and ``secret``: a session of this site's choice, for a minute."""

    def do_GET(self) -> None:
        """Answer a request."""
        if self.path != "/secret":
            super().do_GET()
            return
        wanted = {"session": SESSION, "expires_after": {"anchor": "created_at", "seconds": 60}}
        headers = {"Authorization": f"Bearer {os.environ.get('DUPLEX_API_KEY', 'none')}"}
        address = f"{SERVER}/v1/realtime/client_secrets"
        try:
            with urlopen(Request(address, json.dumps(wanted).encode(), headers)) as answer:
                secret = json.load(answer)["value"]
        except OSError as error:  # its address, or its key
            self.send_error(502, f"We cannot be reached: {error}")
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps({"server": SERVER, "secret": secret}).encode())


if __name__ == "__main__":
    handler = partial(Site, directory=str(Path(__file__).parent))
    with ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), handler) as site:
        print(f"http://127.0.0.1:{site.server_port}", flush=True)
        site.serve_forever()
