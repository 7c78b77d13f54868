"""What can be set, its defaults, and where a value in force came from."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from attrs import frozen
from distlib.index import DEFAULT_INDEX


def public_index() -> str:
    """The Simple API of the public index: the origin of distlib's constant, so that no address is spelled here."""
    parts = urlsplit(DEFAULT_INDEX)
    return f"{parts.scheme}://{parts.netloc}/simple/"


@frozen(kw_only=True)
class Settings:
    """All settings, typed. Attribute names are the settings' names in lower case."""

    # The Simple API that the remote index stands for; empty: no remote index. A slash at its end is optional.
    index_url: str = public_index()
    # Everything that Cheddar keeps lies below this directory unless set apart.
    data_dir: Path = Path("var")
    # Uploaded files: releases/ and pre-releases/ below it. Empty: DATA_DIR/local.
    local_cache_dir: Path | None = None
    # Cached files of upstream, the same way. Empty: DATA_DIR/remote.
    remote_cache_dir: Path | None = None
    # redis://, rediss:// or unix:// address of the metadata store; empty: the embedded store in DATA_DIR.
    redis_url: str = ""
    # The short form of REDIS_URL: a host name, on the default port.
    redis_hostname: str = ""
    # The TCP port that HTTP is served on.
    port: int = 5000
    # Endpoint descriptions (Twisted's) to serve on instead of PORT.
    listen: tuple[str, ...] = ()
    # The address that users see, in pages and logs; empty: http://localhost:PORT/. The request's Host is never used.
    public_url: str = ""
    # Seconds that a cached listing is served without asking upstream.
    versions_short_ttl: int = 600
    # Seconds after the last request for a listing during which it goes on being refreshed.
    versions_long_ttl: int = 3 * 24 * 3600
    # Seconds after which an upstream that sends nothing is given up.
    get_timeout: int = 20
    # Seconds that a client waits for a listing that is not cached, before it is told to come again.
    listing_wait: int = 12
    # Seconds that upstream's "no such project" is remembered.
    negative_ttl: int = 300
    # Seconds between two turns of the refresh loop, and how many listings it fetches at a time.
    refresh_interval: int = 60
    refresh_concurrency: int = 4
    # Connections kept open to upstream.
    upstream_connections: int = 16
    # How many recent uploads the history shows.
    history_size: int = 50
    # Whether reading needs a login too.
    read_auth: bool = False
    # What a plain text password in the store means: replaced by its hash at the first login, accepted, or refused.
    plaintext_passwords: Literal["upgrade", "accept", "reject"] = "upgrade"
    # Whether a removed file's name may come back with other bytes.
    filename_reuse: Literal["allow", "never"] = "allow"
    # The largest upload, in bytes.
    max_upload: int = 4 * 1024**3
    # Seconds that requests under way get when the server stops.
    drain_timeout: int = 60

    @property
    def local_dir(self) -> Path:
        """Where uploaded files lie."""
        return self.local_cache_dir or self.data_dir / "local"

    @property
    def remote_dir(self) -> Path:
        """Where cached files of upstream lie."""
        return self.remote_cache_dir or self.data_dir / "remote"

    @property
    def address(self) -> str:
        """The address that users see, with a slash at its end."""
        return (self.public_url or f"http://localhost:{self.port}/").rstrip("/") + "/"

    @property
    def upstream(self) -> str:
        """The remote index's upstream with a slash at its end, or empty."""
        return self.index_url.rstrip("/") + "/" if self.index_url else ""

    @property
    def redis(self) -> str:
        """The address of the Redis store, or empty."""
        return self.redis_url or (f"redis://{self.redis_hostname}:6379" if self.redis_hostname else "")
