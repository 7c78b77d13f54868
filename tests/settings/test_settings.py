"""Settings: where values come from, which of them counts, and what a mistake is answered with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from attrs import fields_dict

from cheddar.errors import SettingsError
from cheddar.names import INDEXES
from cheddar.settings import Loaded, Settings, describe, load, public_index
from cheddar.settings.values import hide_userinfo


def loaded(
    file: Path | None = None, environ: Mapping[str, str] | None = None, options: Mapping[str, object] | None = None
) -> Loaded:
    return load(file=file, environ=environ or {}, options=options or {})


def written(folder: Path, text: str, name: str = "cheddar.toml") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


ORIGINAL = '''
"""Our Cheddar."""
import os
from logging import INFO

INDEX_URL = "https://mirror.example/simple"
REDIS_HOSTNAME = 'redis.example'
VERSIONS_LONG_TTL = 7 * 24 * 60 * 60
VERSIONS_SHORT_TTL = 600
GET_TIMEOUT = 2 * 15
HISTORY_SIZE = 100
FORCE_READ_REQUESTS = True
LOCAL_CACHE_DIR = ("/srv/cheddar"
                   "/local")
REMOTE_CACHE_DIR = u"/srv/cheddar/remote"
LOGGING = dict(version=1, level=INFO, handlers={"console": os.environ["HANDLER"]})
'''


def test_without_any_setting_everything_has_its_default() -> None:
    """No configuration is needed: the public index, the embedded store, ./var, port 5000."""
    result = loaded()
    assert result.settings == Settings()
    assert set(result.origins.values()) == {"default"}
    assert set(result.origins) == set(fields_dict(Settings))
    assert result.warnings == ()
    assert [upstream.url for upstream in result.settings.upstreams] == [public_index()]
    assert public_index().startswith("https://")
    assert public_index().endswith("/simple/")
    assert (result.settings.local_dir, result.settings.remote_dir) == (Path("var/local"), Path("var/remote"))
    assert result.settings.address == "http://localhost:5000/"
    assert result.settings.redis == ""


def test_default_gives_way_to_file_to_environment_to_option(tmp_path: Path) -> None:
    """Each place overrides the one before it, setting by setting."""
    file = written(tmp_path, "port = 1001\nget_timeout = 1002\nhistory_size = 1003\n")
    environ = {"CHEDDAR_PORT": "2001", "CHEDDAR_GET_TIMEOUT": "2002", "PORT": "7", "HOME": "/"}
    result = loaded(file, environ, {"port": "3001"})
    settings = result.settings
    assert (settings.port, settings.get_timeout, settings.history_size) == (3001, 2002, 1003)
    assert settings.max_upload == Settings().max_upload
    assert result.origins["port"] == "--port"
    assert result.origins["get_timeout"] == "CHEDDAR_GET_TIMEOUT"
    assert result.origins["history_size"] == str(file)
    assert result.origins["max_upload"] == "default"
    assert result.warnings == ()


def test_the_environment_names_the_file_unless_an_option_does(tmp_path: Path) -> None:
    """CHEDDAR_SETTINGS names the settings file; --settings comes before it."""
    named = written(tmp_path, "port = 1", "a.toml")
    other = written(tmp_path, "port = 2", "b.toml")
    assert loaded(environ={"CHEDDAR_SETTINGS": str(named)}).settings.port == 1
    assert loaded(other, {"CHEDDAR_SETTINGS": str(named)}).settings.port == 2
    assert loaded(environ={"CHEDDAR_SETTINGS": ""}).settings.port == 5000


def test_toml_sets_every_kind_of_value_in_upper_or_lower_case(tmp_path: Path) -> None:
    """TOML: numbers, strings, lists, true and false; names in either case."""
    file = written(
        tmp_path,
        'INDEX_URL = ""\ndata_dir = "/srv/data"\nListen = ["tcp:1", "unix:/run/a b"]\nread_auth = true\n'
        'max_upload = 1_000\nfilename_reuse = "never"\nlocal_cache_dir = ""\n',
    )
    settings = loaded(file).settings
    assert settings == Settings(
        index_url="",
        data_dir=Path("/srv/data"),
        listen=("tcp:1", "unix:/run/a b"),
        read_auth=INDEXES,
        max_upload=1000,
        filename_reuse="never",
    )
    assert settings.upstreams == ()
    assert settings.local_dir == Path("/srv/data/local")


@pytest.mark.parametrize("name", ["production.py", "cheddar.cfg", "settings"])
def test_the_first_cheddars_settings_files_are_read_as_they_are(tmp_path: Path, name: str) -> None:
    """A Python settings file of the first Cheddar needs no change; what has no effect any more is said."""
    result = loaded(written(tmp_path, ORIGINAL, name))
    assert result.settings == Settings(
        index_url="https://mirror.example/simple",
        redis_hostname="redis.example",
        versions_long_ttl=604800,
        versions_short_ttl=600,
        get_timeout=30,
        history_size=100,
        local_cache_dir=Path("/srv/cheddar/local"),
        remote_cache_dir=Path("/srv/cheddar/remote"),
    )
    assert result.settings.redis == "redis://redis.example:6379"
    assert [upstream.url for upstream in result.settings.upstreams] == ["https://mirror.example/simple/"]
    assert len(result.warnings) == 2
    assert "FORCE_READ_REQUESTS" in result.warnings[0]
    assert "LOGGING" in result.warnings[1]


def test_a_python_settings_file_is_never_executed(tmp_path: Path) -> None:
    """Code in a settings file is refused by line, and leaves no trace."""
    mark = tmp_path / "executed"
    for text in (
        f"HISTORY_SIZE = open({str(mark)!r}, 'w').write('x')\n",
        f"open({str(mark)!r}, 'w')\n",
        f"LOGGING = open({str(mark)!r}, 'w')\nHISTORY_SIZE = 2 ** 70\n",
        "HISTORY_SIZE = 'ab' * 3\n",
        "HISTORY_SIZE, GET_TIMEOUT = 1, 2\n",
        "if True:\n    HISTORY_SIZE = 1\n",
        "HISTORY_SIZE = " + "*".join(["9000000000000000000"] * 3),
    ):
        with pytest.raises(SettingsError, match=r"settings\.py: line \d+: ") as caught:
            loaded(written(tmp_path, text, "settings.py"))
        assert "\n" not in str(caught.value)
    assert not mark.exists()
    # The control: the same file without the code is read.
    assert loaded(written(tmp_path, "HISTORY_SIZE = 2 * 35\n", "settings.py")).settings.history_size == 70


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("index_ulr = 'x'", "unknown setting INDEX_ULR; did you mean INDEX_URL?"),
        ("zzzzzz = 1", "unknown setting ZZZZZZ"),
        ("port = '5000'", "PORT: must be a whole number of 1 or more, and is '5000'"),
        ("port = true", "PORT: must be a whole number of 1 or more, and is True"),
        ("port = 0", "PORT: must be a whole number of 1 or more, and is 0"),
        ("port = 65536", "PORT: must be a port number, at most 65535, and is 65536"),
        ("get_timeout = 1.5", "GET_TIMEOUT: must be a whole number of 1 or more, and is 1.5"),
        ("history_size = -1", "HISTORY_SIZE: must be a whole number of 1 or more, and is -1"),
        ("read_auth = 'yes'", "READ_AUTH: must be true, false, or some of local, remote, combined, and is 'yes'"),
        ("read_auth = ['local', 'locale']", "READ_AUTH: must be true, false, or some of local, remote, combined, and"),
        ("private_projects = ['*']", "PRIVATE_PROJECTS: must be a list, each of it a project name, or the beginning"),
        ("create_projects = 'all'", "CREATE_PROJECTS: must be 'users' or 'granted' or 'admins', and is 'all'"),
        ("data_dir = 1", "DATA_DIR: must be a string, and is 1"),
        ("data_dir = ''", "DATA_DIR: must be the path of a directory, and is ''"),
        ("filename_reuse = 'maybe'", "FILENAME_REUSE: must be 'allow' or 'never', and is 'maybe'"),
        ("listen = [1]", "LISTEN: must be a list of endpoint descriptions, and is [1]"),
        ("reserved_names = 1", "RESERVED_NAMES: must be a list of names of projects (acme) and beginnings of names ("),
        ("reserved_names = ['acme-*', '']", "RESERVED_NAMES: must be a list of names of projects (acme) and beginnin"),
        ("reserved_names = ['a-*', '*-a']", "RESERVED_NAMES: must be a list, each of it a project name, or the begin"),
        ("index_url = 'mirror.example/simple'", "INDEX_URL: must be a whole address that begins with one of http"),
        ("index_url = 'https:///simple'", "INDEX_URL: must be a whole address"),
        ("public_url = 'http://a:99999/'", "PUBLIC_URL: must be a whole address"),
        ("x_accel_redirect = 'files/'", "X_ACCEL_REDIRECT: must be the path of a location"),
        ("x_accel_redirect = '/files'", "X_ACCEL_REDIRECT: must be the path of a location"),
        ("x_accel_redirect = '/'", "X_ACCEL_REDIRECT: must be the path of a location"),
        ("x_accel_redirect = '/a b/'", "X_ACCEL_REDIRECT: must be the path of a location"),
        ("access_log = 'csv'", "ACCESS_LOG: must be 'text' or 'json' or 'off'"),
        ("redis_url = 'http://a/'", "REDIS_URL: must be a whole address that begins with one of redis://, rediss://,"),
        ("redis_hostname = 'redis://a'", "REDIS_HOSTNAME: must be a host name"),
        ("port = 1\nPORT = 2", "PORT is set twice"),
        ("[cheddar]\nport = 1", "unknown setting CHEDDAR"),
        ("port = = 1", "is not TOML: "),
    ],
)
def test_a_mistake_in_a_file_is_one_line_with_file_key_and_remedy(tmp_path: Path, text: str, message: str) -> None:
    """Nothing starts with a setting that is unknown or wrong, and the line that says so is enough to mend it."""
    file = written(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        loaded(file)
    assert str(caught.value).startswith(f"{file}: {message}")
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    """A missing, binary or wholly malformed file stops the start in one line."""
    for name, content, message in (
        ("missing", None, "cannot be read: No such file"),
        ("binary", b"\xff\xfe\x00", "is not UTF-8"),
        ("neither", b"port: 5000: 1\n:", "is not TOML"),
        ("broken.py", b"PORT = (", "line 1: "),
    ):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(SettingsError, match=f"{name}: {message}"):
            loaded(tmp_path / name)


@pytest.mark.parametrize("setting", ["CHEDDAR_X_ACCEL_REDIRECT", "CHEDDAR_X_SENDFILE"])
def test_who_sends_files_in_front_has_to_be_named(setting: str) -> None:
    """Without trusted proxies these settings do nothing, which is told."""
    environ = {setting: "/files/" if setting.endswith("REDIRECT") else "true"}
    (warning,) = loaded(environ=environ).warnings
    assert "TRUSTED_PROXIES" in warning
    assert loaded(environ={**environ, "CHEDDAR_TRUSTED_PROXIES": "127.0.0.1"}).warnings == ()


def test_reading_may_take_a_login_in_some_indexes(tmp_path: Path) -> None:
    """true and false are all and none; indexes are named in a list, in a file or in the environment."""
    for text, expected in (
        ("true", INDEXES),
        ("false", ()),
        ("[]", ()),
        ('["combined", "local"]', ("local", "combined")),
    ):
        (tmp_path / "cheddar.toml").write_text(f"read_auth = {text}")
        assert loaded(tmp_path / "cheddar.toml").settings.read_auth == expected
    settings = loaded(environ={"CHEDDAR_READ_AUTH": "remote local"}).settings
    assert settings.read_auth == ("local", "remote")
    rows = {name: value for name, value, _ in describe(settings, {})}
    assert rows["READ_AUTH"] == "local remote"


def test_environment_values_are_read_by_the_settings_type() -> None:
    """In the environment: numbers in digits, true/false/1/0/yes/no, endpoints apart by spaces, empty for none."""
    for text, expected in (("true", True), ("1", True), ("YES", True), ("False", False), ("0", False), ("no", False)):
        environ = {"CHEDDAR_READ_AUTH": text}
        assert loaded(environ=environ).settings.read_auth == (INDEXES if expected else ())
        # The setting's own default does not hide a value that is not read.
        assert loaded(environ=environ).origins["read_auth"] == "CHEDDAR_READ_AUTH"
    settings = loaded(
        environ={"CHEDDAR_INDEX_URL": "", "CHEDDAR_LISTEN": "tcp:80 unix:/run/x", "CHEDDAR_REMOTE_CACHE_DIR": "/r"}
    ).settings
    assert (settings.upstreams, settings.listen, settings.remote_dir) == ((), ("tcp:80", "unix:/run/x"), Path("/r"))
    for variable, text in (
        ("CHEDDAR_READ_AUTH", "on"),
        ("CHEDDAR_PORT", "http"),
        ("CHEDDAR_PORT", "\u0665"),
        ("CHEDDAR_HISTORY_SIZE", "9" * 5000),
        ("CHEDDAR_DATA_DIR", ""),
    ):
        with pytest.raises(SettingsError, match=rf"^{variable}: must be "):
            loaded(environ={variable: text})


def test_reserved_names_are_read_as_they_are_compared(tmp_path: Path) -> None:
    """However a name is spelled, the settings in force show what it stands for, each once; apart by spaces in text."""
    file = written(tmp_path, 'reserved_names = ["Acme_*", "acme.*", "Widget"]\nstrict_names = true\n')
    result = loaded(file)
    assert result.settings == Settings(reserved_names=("acme-*", "widget"), strict_names=True)
    rows = {name: value for name, value, _ in describe(result.settings, result.origins)}
    assert (rows["RESERVED_NAMES"], rows["STRICT_NAMES"]) == ("acme-* widget", "true")
    assert loaded(written(tmp_path, 'reserved_names = "ACME*"')).settings.reserved_names == ("acme*",)
    assert loaded(file, {"CHEDDAR_RESERVED_NAMES": "tool  Tool-*"}).settings.reserved_names == ("tool", "tool-*")
    assert loaded(file, {"CHEDDAR_RESERVED_NAMES": ""}).settings.reserved_names == ()
    with pytest.raises(SettingsError, match=r"^CHEDDAR_RESERVED_NAMES: .*acme-\* .*, and is '\*'$"):
        loaded(environ={"CHEDDAR_RESERVED_NAMES": "acme-* *"})


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [
        ("", 0),
        ("0", 0),
        ("1000", 1000),
        ("500MiB", 500 * 1024**2),
        ("50GB", 50 * 1000**3),
        ("1.1 gb", 1_100_000_000),
        ("2 TiB", 2 * 1024**4),
        ("7B", 7),
    ],
)
def test_a_size_may_have_a_unit(tmp_path: Path, text: str, bytes_: int) -> None:
    """Bytes, powers of 1000 (kB, MB, GB) and of 1024 (KiB, MiB, GiB), in the environment and as text in a file."""
    assert loaded(environ={"CHEDDAR_REMOTE_CACHE_SIZE": text}).settings.remote_cache_size == bytes_
    assert loaded(written(tmp_path, f'remote_cache_size = "{text}"')).settings.remote_cache_size == bytes_
    assert loaded(written(tmp_path, f"remote_cache_size = {bytes_}")).settings.remote_cache_size == bytes_


@pytest.mark.parametrize("text", ["-1", "GB", "50 apples", "1e9", "1,5GB", "50GBit", "\u0665", "9" * 5000])
def test_what_is_no_size(text: str) -> None:
    """It stops the start, in words that say what would be one."""
    with pytest.raises(SettingsError, match=r"^CHEDDAR_REMOTE_CACHE_SIZE: must be .* such as 500MiB or 50GB"):
        loaded(environ={"CHEDDAR_REMOTE_CACHE_SIZE": text})
    with pytest.raises(SettingsError, match="such as 500MiB or 50GB"):
        loaded(options={"remote_cache_size": True})


def test_an_unknown_variable_warns_and_a_port_that_is_a_url_is_ignored() -> None:
    """The environment is not all the administrator's own: what is foreign there does not stop the start."""
    environ = {
        "CHEDDAR_PORT": "tcp://10.0.0.7:5000",
        "CHEDDAR_SERVICE_HOST": "10.0.0.7",
        "CHEDDAR_HISTORY_SIZ": "3",
    }
    result = loaded(environ=environ)
    assert result.settings == Settings()
    assert len(result.warnings) == 3
    assert result.warnings[0] == (
        "environment: unknown variable CHEDDAR_HISTORY_SIZ; did you mean CHEDDAR_HISTORY_SIZE?"
    )
    assert "CHEDDAR_PORT is ignored" in result.warnings[1]
    assert "CHEDDAR_SERVICE_HOST" in result.warnings[2]


def test_a_wrong_option_is_named_as_it_is_typed() -> None:
    """Errors in options name the option."""
    with pytest.raises(SettingsError, match=r"^--port: must be a whole number"):
        loaded(options={"port": "http"})
    with pytest.raises(SettingsError, match=r"^--redis: must be a whole address"):
        loaded(options={"redis_url": "localhost"})
    with pytest.raises(SettingsError, match=r"unknown setting PROT; did you mean PORT\?"):
        loaded(options={"prot": "1"})
    assert loaded(options={"listen": ["unix:/run/a b"]}).settings.listen == ("unix:/run/a b",)


def test_workers_are_a_number_or_as_many_as_processors() -> None:
    """WORKERS is one unless said; auto counts the processors that the process may use."""
    assert loaded().settings.workers == 1
    assert loaded(options={"workers": "3"}).settings.workers == 3
    assert loaded(environ={"CHEDDAR_WORKERS": "auto"}).settings.workers == len(os.sched_getaffinity(0))
    for wrong in ("0", "-1", "two", "257", "", True, 1.5):
        with pytest.raises(SettingsError, match=r"^--workers: must be a whole number from 1 to 256, or auto"):
            loaded(options={"workers": wrong})


def test_a_short_form_set_closer_to_the_command_line_counts(tmp_path: Path) -> None:
    """--port beats a file's LISTEN, and CHEDDAR_REDIS_HOSTNAME a file's REDIS_URL; in one place the long form wins."""
    file = written(tmp_path, 'listen = ["tcp:1"]\nport = 2\nredis_url = "redis://far"\nredis_hostname = "near"\n')
    same = loaded(file)
    assert (same.settings.listen, same.settings.redis) == (("tcp:1",), "redis://far")
    closer = loaded(file, {"CHEDDAR_REDIS_HOSTNAME": "::1"}, {"port": "3"})
    assert (closer.settings.listen, closer.settings.port) == ((), 3)
    assert closer.settings.redis == "redis://[::1]:6379"
    assert closer.origins["listen"] == "default, since PORT was set by --port"


def test_what_is_in_force_is_described_without_secrets(tmp_path: Path) -> None:
    """`cheddar settings` shows every value and its origin, and no password."""
    file = written(
        tmp_path,
        'index_url = "https://me:hush@mirror.example/simple"\nredis_url = "rediss://:h@sh@redis.example:1/"\n',
    )
    result = loaded(file, {"CHEDDAR_DATA_DIR": "/data"})
    rows = {name: (value, origin) for name, value, origin in describe(result.settings, result.origins)}
    assert rows["INDEX_URL"] == ("https://***@mirror.example/simple/", str(file))
    assert rows["REDIS_URL"] == ("rediss://***@redis.example:1/", str(file))
    assert rows["DATA_DIR"] == ("/data", "CHEDDAR_DATA_DIR")
    assert rows["LOCAL_CACHE_DIR"] == ("/data/local", "default")
    assert rows["READ_AUTH"] == ("false", "default")
    assert rows["PUBLIC_URL"] == ("http://localhost:5000/", "default")
    assert len(rows) == len(fields_dict(Settings))
    assert "h@sh" not in str(rows)
    assert "hush" not in str(rows)


def test_a_wrong_address_is_shown_without_its_password() -> None:
    """Error lines go to logs: they carry no password either, however wrong the address is."""
    for url in ("redis//:hush@host", "http://u:hush@host/", "://u:hush@host"):
        with pytest.raises(SettingsError) as caught:
            loaded(options={"redis_url": url})
        assert "hush" not in str(caught.value)
        assert "host" in str(caught.value)
    assert hide_userinfo("unix:///run/redis.sock") == "unix:///run/redis.sock"
