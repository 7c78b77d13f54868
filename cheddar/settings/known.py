"""What can be set, and its defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NewType
from urllib.parse import urlsplit

from attrs import evolve, field, frozen
from distlib.index import DEFAULT_INDEX

from cheddar.settings.publishers import PublisherSettings
from cheddar.settings.upstreams import UpstreamSettings
from cheddar.settings.values import reading_indexes

#: Bytes; 0 for no limit. May be written with a unit: 500 MiB, 50GB.
Size = NewType("Size", int)

#: Processes; "auto" for as many as there are processors.
Workers = NewType("Workers", int)


def public_index() -> str:
    """The Simple API of the public index: the origin of distlib's constant, so that no address is spelled here."""
    parts = urlsplit(DEFAULT_INDEX)
    return f"{parts.scheme}://{parts.netloc}/simple/"


@frozen(kw_only=True)
class Settings:
    """All settings, typed. Attribute names are the settings' names in lower case."""

    # The Simple API that the remote index stands for; empty: no remote index. A slash at its end is optional.
    index_url: str = public_index()
    # Several upstreams in place of INDEX_URL: tables [[upstream]] of the settings file.
    upstream: tuple[UpstreamSettings, ...] = ()
    # Whether no upstream is ever asked, and only what is here is served.
    offline: bool = False
    # Files that upstream no longer lists: not offered any more, offered as yanked, or offered as before.
    on_removed: Literal["withhold", "mark", "keep"] = "withhold"
    # Files under whose name upstream has other bytes now: the first ones are offered, or none.
    on_changed: Literal["pin", "withhold"] = "pin"
    # Everything that Cheddar keeps lies below this directory unless set apart.
    data_dir: Path = Path("var")
    # Uploaded files: releases/ and pre-releases/ below it. Empty: DATA_DIR/local.
    local_cache_dir: Path | None = None
    # Cached files of upstream, the same way. Empty: DATA_DIR/remote.
    remote_cache_dir: Path | None = None
    # How many bytes of them are kept; 0: all.
    remote_cache_size: Size = Size(0)
    # What is noted for audits, a JSON object a line. Empty: DATA_DIR/audit.jsonl.
    audit_log: Path | None = None
    # What is noted of each request: a line in the log, a JSON object a line in a file of their own, or nothing.
    access_log: Literal["text", "json", "off"] = "text"
    # That file. Empty: DATA_DIR/access.jsonl; -: the standard output.
    access_log_file: Path | None = None
    # How many of the newest events `cheddar audit` finds; the file has them all.
    audit_kept: int = 100_000
    # redis://, rediss:// or unix:// address of the metadata store; empty: the embedded store in DATA_DIR.
    redis_url: str = ""
    # The short form of REDIS_URL: a host name, on the default port.
    redis_hostname: str = ""
    # The TCP port that HTTP is served on.
    port: int = 5000
    # Endpoint descriptions (Twisted's) to serve on instead of PORT.
    listen: tuple[str, ...] = ()
    # How many processes serve; auto: as many as there are processors for them.
    workers: Workers = Workers(1)
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
    # The indexes that take a login to read; true: all, false: none.
    read_auth: tuple[str, ...] = field(default=(), converter=reading_indexes)
    # Local projects that only who has a role there may read: acme, acme-*, acme*.
    private_projects: tuple[str, ...] = ()
    # Who may upload the first file of a project: every user, who was granted its name, or administrators.
    create_projects: Literal["users", "granted", "admins"] = "users"
    # Who may publish by an identity token (OIDC): tables [[publisher]] of the settings file. The audience of these
    # tokens; empty: the host of PUBLIC_URL.
    publisher: tuple[PublisherSettings, ...] = ()
    oidc_audience: str = ""
    # What a plain text password in the store means: replaced by its hash at the first login, accepted, or refused.
    plaintext_passwords: Literal["upgrade", "accept", "reject"] = "upgrade"
    # Whether a removed file's name may come back with other bytes.
    filename_reuse: Literal["allow", "never"] = "allow"
    # Names that upstream is never asked for, and that only who was granted them may create: acme, acme-*, acme*.
    reserved_names: tuple[str, ...] = ()
    # Whether files are refused whose names are not normalized (PEP 427, PEP 625).
    strict_names: bool = False
    # Bytes of a request's first line and its headers together, and how many headers there may be.
    header_size: int = 16 * 1024
    header_count: int = 128
    # Seconds for the headers of a request; bytes a second that a body must bring; seconds for a reader to take 64 KiB.
    header_timeout: int = 20
    body_rate: int = 1024
    stall_timeout: int = 60
    # Connections of clients, in all and of one address.
    max_connections: int = 8192
    max_connections_per_address: int = 1024
    # Addresses and networks of proxies; unix: whoever connects to a socket that is a file. The number for one address
    # does not apply to them, and their X-Forwarded-For says who their clients are.
    trusted_proxies: tuple[str, ...] = ()
    # How these proxies are told to send the files that are here: by X-Accel-Redirect, to a location of nginx's of this
    # path; or by X-Sendfile. Neither: they are sent by Cheddar.
    x_accel_redirect: str = ""
    x_sendfile: bool = False
    # Twisted's checkers of logins (file:/path), asked where the store has no user of the name.
    auth: tuple[str, ...] = ()
    # So many logins may fail in so many seconds: of one user from one address, and from one address in all.
    failed_logins: int = 10
    failed_logins_per_address: int = 30
    failed_logins_seconds: int = 300
    # The largest upload, in bytes; and the largest file that is fetched from upstream.
    max_upload: int = 4 * 1024**3
    max_download: int = 16 * 1024**3
    # Of the form that it comes in: parts, bytes of one field, and bytes of all fields.
    form_parts: int = 1024
    form_field_size: int = 4 * 1024**2
    form_fields_size: int = 16 * 1024**2
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
    def audience(self) -> str:
        """What identity tokens for this server have for their audience."""
        return self.oidc_audience or urlsplit(self.address).netloc

    @property
    def audit_file(self) -> Path:
        """What is noted for audits."""
        return self.audit_log or self.data_dir / "audit.jsonl"

    @property
    def requests_file(self) -> Path:
        """What is noted of requests, where ACCESS_LOG is C{json}."""
        return self.access_log_file or self.data_dir / "access.jsonl"

    @property
    def upstreams(self) -> tuple[UpstreamSettings, ...]:
        """The upstreams in the order in which they are asked; none where there is no remote index."""
        if self.upstream:
            chosen = self.upstream
        elif self.index_url:
            chosen = (UpstreamSettings(url=self.index_url.rstrip("/") + "/"),)
        else:
            return ()
        return tuple(
            evolve(
                upstream,
                timeout=upstream.timeout or self.get_timeout,
                connections=upstream.connections or self.upstream_connections,
            )
            for upstream in chosen
        )

    @property
    def redis(self) -> str:
        """The address of the Redis store, or empty."""
        if self.redis_url or not self.redis_hostname:
            return self.redis_url
        host = f"[{self.redis_hostname}]" if ":" in self.redis_hostname else self.redis_hostname
        return f"redis://{host}:6379"
