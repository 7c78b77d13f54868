"""nginx, three times: as the generated upstream, serving the same files, and as a caching proxy. One worker each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from attrs import define

from benchmarks.servers import KEPT_SECONDS, Server

_CONFIGURATION = """
worker_processes 1; daemon off; pid "{folder}/nginx.pid"; error_log "{folder}/error.log"; {user}
events {{ worker_connections 1024; }}
http {{
  sendfile on; tcp_nopush on; keepalive_requests 100000000; open_file_cache max=10000; access_log off;
  client_body_temp_path "{folder}/body"; proxy_temp_path "{folder}/proxy"; fastcgi_temp_path "{folder}/fastcgi";
  uwsgi_temp_path "{folder}/uwsgi"; scgi_temp_path "{folder}/scgi";
  log_format requests '$request_method $uri';
  map $http_accept $index {{ default index.html; "~application/vnd.pypi.simple.v1\\+json" index.json; }}
{rest}
}}
"""

_FILES = """
  server {{
    listen 127.0.0.1:{port} backlog=511; root "{root}"; index $index; {log}
    default_type application/octet-stream; types {{ text/plain metadata; }}
    add_header Vary Accept; add_header Cache-Control "public, max-age=600";
    location ~ /index\\.json$ {{ types {{}} default_type application/vnd.pypi.simple.v1+json; gzip_static on; }}
    location ~ /index\\.html$ {{ types {{}} default_type text/html; gzip_static on; }}
  }}
"""

_CACHE = """
  proxy_cache_path "{folder}/cache" levels=1:2 keys_zone=kept:10m max_size=10g inactive=1d use_temp_path=off;
  upstream origin {{ server {origin}; keepalive 16; }}
  server {{
    listen 127.0.0.1:{port} backlog=511;
    gzip on; gzip_proxied any; gzip_vary on; gzip_types application/vnd.pypi.simple.v1+json;
    location / {{
      proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Accept-Encoding ""; proxy_ignore_headers Cache-Control Vary;
      proxy_cache kept; proxy_cache_key $uri$http_accept; proxy_cache_valid 200 {kept}s;
      proxy_cache_lock on; proxy_cache_lock_timeout 120s; proxy_cache_lock_age 120s;
      proxy_cache_use_stale error timeout updating; proxy_cache_revalidate on;
    }}
    location /files/ {{
      proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_cache kept; proxy_cache_key $uri; proxy_cache_valid 200 {kept}s;
      proxy_cache_lock on; proxy_cache_lock_timeout 120s; proxy_cache_lock_age 120s;
    }}
  }}
"""


@define(eq=False)
class Nginx(Server):
    """What the three have in common."""

    def rest(self) -> str:
        """The part of the configuration that is its own."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Write the configuration."""
        user = "user root;" if os.geteuid() == 0 else ""  # else the worker's user may not read what is root's
        text = _CONFIGURATION.format(folder=self.folder, user=user, rest=self.rest())
        (self.folder / "nginx.conf").write_text(text)

    def command(self) -> Sequence[str]:
        """nginx with its own prefix."""
        return ("nginx", "-p", str(self.folder), "-c", str(self.folder / "nginx.conf"), "-e", "stderr")


@define(eq=False)
class StaticNginx(Nginx):
    """
    The upstream's own files.

    @ivar root: the folder with C{simple} and C{files}.
    """

    root: Path

    name = "nginx static"

    def rest(self) -> str:
        """See L{Nginx.rest}."""
        return _FILES.format(port=self.port, root=self.root, log="")


@define(eq=False)
class Upstream(StaticNginx):
    """The generated upstream; it counts what it is asked for."""

    name = "upstream"

    def rest(self) -> str:
        """See L{Nginx.rest}."""
        return _FILES.format(port=self.port, root=self.root, log=f'access_log "{self.requests}" requests;')

    @property
    def requests(self) -> Path:
        """A line for each request, written as soon as it is answered."""
        return self.folder / "requests"

    def mark(self) -> int:
        """To count from: see L{asked}."""
        return self.requests.stat().st_size if self.requests.exists() else 0

    def asked(self, mark: int, part: str) -> int:
        """How many requests for an address with C{part} in it came since C{mark}."""
        with self.requests.open("rb") as log:
            log.seek(mark)
            return sum(f"{part}".encode() in line and line.startswith(b"GET ") for line in log)


@define(eq=False)
class CachingNginx(Nginx):
    """A caching proxy, as an operator would set it up in front of an index."""

    name = "nginx cache"

    def rest(self) -> str:
        """See L{Nginx.rest}."""
        origin = self.upstream.removeprefix("http://").removesuffix("/simple/")
        return _CACHE.format(folder=self.folder, origin=origin, port=self.port, kept=KEPT_SECONDS)
