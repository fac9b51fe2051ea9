"""Fetching over a bad line, from a real local server that cuts, stalls, forgets, lies and redirects."""

import collections
import hashlib
import http.server
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import fsspec
import pytest

from pipeline.files import addresses, fetch
from pipeline.files.fetch import fetch_files
from pipeline.files.published import PublishedFile
from pipeline.runtime.errors import InputError

REPOSITORY = Path(__file__).parents[1]
CONTENT = bytes(range(256)) * 4000
CHECKSUM = hashlib.sha256(CONTENT).hexdigest()
CUT = 300_000  # bytes that a cut answer has

# What an address does in its first answers; afterwards it is good.
TROUBLES = {
    "good": [],
    "cut": ["cut"] * 3,
    "cut-once": ["cut"],
    "always-cut": ["cut at 1000"] * 99,
    "stalls": ["stall"],
    "busy": ["500", "503", "429"],
    "always-busy": ["500"] * 99,
    "forgets": ["cut", "new version"],
    "no-version": ["cut, no version", "no version"],
    "no-ranges": ["cut", "whole"],
    "other-range": ["cut", "other range"],
    "says-more": ["says more"] * 99,
    "says-less": ["says less"] * 99,
    "gone": ["cut", "404"],
}


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT with ETags and ranges, after the troubles that the path names; `asked` has each path, range and answer."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked, self.answers, self.released = [], collections.Counter(), threading.Event()
        self.counting, self.meeting = threading.Lock(), threading.Barrier(2)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        name = self.path.partition("?")[0].split("/")[1]
        if name == "redirect":
            self.send_response(302)
            self.send_header("Location", self.path.partition("?to=")[2])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        with self.server.counting:
            number, self.server.answers[name] = self.server.answers[name], self.server.answers[name] + 1
        if name == "together":
            self.server.meeting.wait(10)
        self.answer(dict(enumerate(TROUBLES.get(name, []))).get(number, "good"))

    def answer(self, trouble):
        if trouble.isdigit():
            self.server.asked.append((self.path, self.headers.get("Range"), int(trouble)))
            self.send_response(int(trouble))
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        tag = '"second"' if trouble == "new version" else '"first"'
        start = self.first_byte(tag) if trouble != "whole" else 0
        status = 206 if start else 200
        if start >= len(CONTENT):
            status, start = 416, len(CONTENT)
        self.server.asked.append((self.path, self.headers.get("Range"), status))
        body = CONTENT[start:]
        self.send_response(status)
        wrong = {"says more": 10, "says less": -10}.get(trouble, 0)
        self.send_header("Content-Length", str(len(body) + wrong))
        if "no version" not in trouble:
            self.send_header("ETag", tag)
        if status != 200:
            said = start + 7 if trouble == "other range" else start
            shown = "*" if status == 416 else f"{said}-{len(CONTENT) - 1}"
            self.send_header("Content-Range", f"bytes {shown}/{len(CONTENT)}")
        self.send_header("Connection", "close")
        self.end_headers()
        if trouble == "stall":
            self.wfile.write(body[:CUT])
            self.server.released.wait(120)
        else:
            limit = 1000 if trouble == "cut at 1000" else CUT if trouble.startswith("cut") else None
            self.wfile.write(body[:limit])

    def first_byte(self, tag):
        """Where the range begins that is asked for, if it is of this version."""
        asked = self.headers.get("Range")
        return int(asked[len("bytes=") : -1]) if asked and self.headers.get("If-Range") == tag else 0

    def log_message(self, *arguments):
        """Say nothing on the terminal."""


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(fetch, "ATTEMPTS", 4)
    monkeypatch.setattr(fetch, "FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(fetch, "PROGRESS_BYTES", 100_000)
    monkeypatch.setattr(addresses, "READ_SECONDS", 0.5)


def published(*urls, **changes):
    return PublishedFile(**{"name": "data.bin", "urls": urls, "sha256": CHECKSUM} | changes)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "raw" / "source"


def everything_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# What was asked for, and the answers.
WHOLE, BUSY = (None, 200), [(None, 500), (None, 503), (None, 429)]
CONTINUED = (f"bytes={CUT}-", 206)


@pytest.mark.parametrize(
    ("trouble", "asked"),
    [
        ("good", [WHOLE]),
        ("cut", [WHOLE, CONTINUED, (f"bytes={2 * CUT}-", 206), (f"bytes={3 * CUT}-", 206)]),
        ("stalls", [WHOLE, CONTINUED]),
        ("busy", [*BUSY, WHOLE]),
        ("forgets", [WHOLE, (f"bytes={CUT}-", 200)]),
        ("no-version", [WHOLE, WHOLE]),
        ("no-ranges", [WHOLE, (f"bytes={CUT}-", 200)]),
        ("other-range", [WHOLE, CONTINUED, WHOLE]),
    ],
)
def test_a_bad_line_delays_only(server, folder, trouble, asked):
    """What came is continued where the version is the same, and got again where it is not, or where nobody can tell."""
    fetch_files([published(f"{server.url}/{trouble}", size=len(CONTENT))], folder, mirrors=[])
    assert (folder / "data.bin").read_bytes() == CONTENT
    assert [(sent, status) for _, sent, status in server.asked] == asked
    assert everything_below(folder.parent) == ["source/data.bin"]


def test_tries_end(server, folder):
    """Four tries that bring nothing new are enough; then the next address has its turn."""
    urls = [f"{server.url}/always-busy", f"{server.url}/always-cut", f"{server.url}/good"]
    fetch_files([published(*urls)], folder, mirrors=[])
    assert (folder / "data.bin").read_bytes() == CONTENT
    assert [path for path, _, _ in server.asked] == ["/always-busy"] * 4 + ["/always-cut"] * 4 + ["/good"]


@pytest.mark.parametrize("trouble", ["says-more", "says-less"])
def test_a_server_that_lies_about_the_size_is_passed_over(server, folder, trouble):
    """Where the size is known, nothing of what such a server sends is looked at."""
    urls = [f"{server.url}/{trouble}", f"{server.url}/good"]
    fetch_files([published(*urls, size=len(CONTENT))], folder, mirrors=[])
    assert [path for path, _, _ in server.asked] == [f"/{trouble}", "/good"]


def test_only_the_checksum_convinces(server, folder):
    """Where the size is not known, too little is refused, and all of it is taken even from who announced more."""
    with pytest.raises(InputError, match=rf"{server.url}/says-less: sha256 .* \({len(CONTENT) - 10:,} bytes\)"):
        fetch_files([published(f"{server.url}/says-less")], folder, mirrors=[])
    assert everything_below(folder.parent) == []
    fetch_files([published(f"{server.url}/says-more")], folder, mirrors=[])
    assert (folder / "data.bin").read_bytes() == CONTENT
    assert server.asked[-1][1:] == (f"bytes={len(CONTENT)}-", 416)


def test_the_next_run_continues(server, folder):
    """What one run got before its address failed, the next does not ask for again."""
    file = published(f"{server.url}/gone")
    with pytest.raises(InputError, match="404"):
        fetch_files([file], folder, mirrors=[])
    (part,) = folder.parent.rglob("*.part")
    assert part.stat().st_size == CUT
    fetch_files([file], folder, mirrors=[])
    assert (folder / "data.bin").read_bytes() == CONTENT
    assert server.asked[-1][1:] == CONTINUED
    assert everything_below(folder.parent) == ["source/data.bin"]


def test_a_damaged_part_is_got_again(server, folder):
    """The checksum covers what an earlier run left; if that was damaged, the file is fetched from its start."""
    file = published(f"{server.url}/gone")
    with pytest.raises(InputError, match="404"):
        fetch_files([file], folder, mirrors=[])
    (part,) = folder.parent.rglob("*.part")
    part.write_bytes(bytes(CUT))
    fetch_files([file], folder, mirrors=[])
    assert (folder / "data.bin").read_bytes() == CONTENT
    assert [(sent, status) for _, sent, status in server.asked[-2:]] == [CONTINUED, WHOLE]


def test_a_complete_part_is_only_verified(server, folder):
    """A run that was killed between the last byte and the checksum costs one answer without content."""
    file = published(f"{server.url}/gone")
    with pytest.raises(InputError, match="404"):
        fetch_files([file], folder, mirrors=[])
    (part,) = folder.parent.rglob("*.part")
    part.write_bytes(CONTENT)
    fetch_files([file], folder, mirrors=[])
    assert server.asked[-1][1:] == (f"bytes={len(CONTENT)}-", 416)
    assert (folder / "data.bin").read_bytes() == CONTENT


KILLED = """
import sys
from pathlib import Path
from pipeline.files.fetch import PublishedFile, fetch_files
fetch_files([PublishedFile(name="data.bin", urls=(sys.argv[1],), sha256="{checksum}")], Path(sys.argv[2]), mirrors=[])
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_killed_run_continues(server, folder, number):
    """Ctrl-C ends a run at once although its server is silent; after it, and after a kill, the next run goes on."""
    program = textwrap.dedent(KILLED.format(checksum=CHECKSUM))
    process = subprocess.Popen(
        [sys.executable, "-c", program, f"{server.url}/stalls", str(folder)], cwd=REPOSITORY, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 120
    while not any(part.stat().st_size == CUT for part in folder.parent.rglob("*.part")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    start = time.monotonic()
    process.communicate(timeout=40)
    assert time.monotonic() - start < 30  # of the 60 seconds that a read may take
    fetch_files([published(f"{server.url}/stalls")], folder, mirrors=[])
    assert (folder / "data.bin").read_bytes() == CONTENT
    assert [(sent, status) for _, sent, status in server.asked] == [WHOLE, CONTINUED]


def test_files_come_side_by_side(server, folder):
    """A server that answers two at once or nobody is content."""
    files = [published(f"{server.url}/together", name=name) for name in ("a.bin", "b.bin")]
    fetch_files(files, folder, mirrors=[])
    assert everything_below(folder.parent) == ["source/a.bin", "source/b.bin"]


def test_a_failure_costs_only_itself(server, folder):
    """When one cannot be had, none is put in place, and the next run asks for that one alone."""
    files = [published(f"{server.url}/good/{number}", name=f"{number}.bin") for number in range(6)]
    broken = published(f"{server.url}/always-busy", name="broken.bin")
    with pytest.raises(InputError, match=r"broken\.bin"):
        fetch_files([*files, broken], folder, mirrors=[])
    assert not folder.exists()
    got = [path for path, _, _ in server.asked if path != "/always-busy"]
    server.asked.clear()
    fetch_files([*files, published(f"{server.url}/good/last", name="broken.bin")], folder, mirrors=[])
    assert sorted(got + [path for path, _, _ in server.asked]) == sorted(
        [f"/good/{n}" for n in range(6)] + ["/good/last"]
    )
    assert len(everything_below(folder)) == 7


def test_a_wrong_checksum_keeps_nothing_and_names_its_address(server, folder):
    """Each address is listed with the checksum that it gave."""
    urls = [f"{server.url}/good/{number}" for number in range(2)]
    with pytest.raises(InputError) as failure:
        fetch_files([published(*urls, sha256="0" * 64)], folder, mirrors=[])
    for url in urls:
        assert f"{url}: sha256 {CHECKSUM} ({len(CONTENT):,} bytes)" in str(failure.value)
    assert everything_below(folder.parent) == []


def test_md5_serves_where_nothing_better_is_published(server, folder):
    """A file has sha256, md5 or both, and both are compared; a file without any is refused."""
    right = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
    url = f"{server.url}/good"
    fetch_files([PublishedFile(name="data.bin", urls=(url,), md5=right)], folder, mirrors=[])
    assert (folder / "data.bin").read_bytes() == CONTENT
    with pytest.raises(InputError, match=f"md5 {right}"):
        fetch_files([published(url, name="other", md5="0" * 32)], folder, mirrors=[])
    with pytest.raises(ValueError, match=r"expected sha256 \(or md5\) of data.bin; received: neither"):
        PublishedFile(name="data.bin")


def test_a_file_behind_a_login_says_where_to_put_it(tmp_path, folder):
    """Without an address, the message names the page and the place; once the file is there, it is taken."""
    place = tmp_path / "raw" / "imagenet"
    file = published(login="https://example.org/signup")
    with pytest.raises(
        InputError, match=f"login: get it from https://example.org/signup and put it at {place}/data.bin"
    ):
        fetch_files([file], folder, mirrors=[str(place)])
    place.mkdir(parents=True)
    (place / "data.bin").write_bytes(CONTENT)
    fetch_files([file], folder, mirrors=[str(place)])
    assert (folder / "data.bin").read_bytes() == CONTENT


def test_files_that_lie_there_already_are_not_copied(tmp_path, folder):
    """A hundred gigabytes in data/raw stay where they are; files of a mirror elsewhere are copied, and never shared."""
    former, mirror = folder.with_name("former"), tmp_path / "mirror"
    for place in (former, mirror):
        place.mkdir(parents=True)
        (place / "data.bin").write_bytes(CONTENT)
    fetch_files([published()], folder, mirrors=[str(former)])
    assert (folder / "data.bin").samefile(former / "data.bin")
    fetch_files([published()], folder, mirrors=[str(mirror)])
    assert (folder / "data.bin").read_bytes() == CONTENT
    assert not (folder / "data.bin").samefile(mirror / "data.bin")


def test_what_fsspec_reads_is_continued_too(folder):
    """An address of another kind (here memory://, as s3:// and gs://) is read from where an earlier run stopped."""
    fsspec.filesystem("memory").pipe_file("/bucket/data.bin", CONTENT)
    file = published("memory://bucket/data.bin")
    with addresses.open_address(file.urls[0], 0, None) as opened:
        assert (opened.offset, opened.total) == (0, len(CONTENT))
        validator = opened.validator
    with addresses.open_address(file.urls[0], CUT, validator) as opened:
        assert opened.offset == CUT
        assert opened.stream.read() == CONTENT[CUT:]
    with addresses.open_address(file.urls[0], CUT, "another version") as opened:
        assert opened.offset == 0
    fetch_files([file], folder, mirrors=[])
    assert (folder / "data.bin").read_bytes() == CONTENT


def test_an_address_that_nothing_reads_is_named(folder):
    """A kind of address without its package, or unknown, is one of the reasons in the message."""
    with pytest.raises(InputError, match="no-such-kind"):
        fetch_files([published("no-such-kind://bucket/data.bin")], folder, mirrors=[])


def test_redirects_are_followed(server, folder):
    """From http to http and https; a checksum decides what is kept."""
    fetch_files([published(f"{server.url}/redirect?to={server.url}/good")], folder, mirrors=[])
    assert (folder / "data.bin").read_bytes() == CONTENT


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl to make a certificate")
def test_https_is_never_left(server, folder, tmp_path, monkeypatch):
    """A redirect from https to http is refused before anything is asked of the other address; to https it is followed."""
    certificate = tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    command += f" -addext subjectAltName=IP:127.0.0.1 -keyout {tmp_path / 'key.pem'} -out {certificate}"
    subprocess.run(command.split(), check=True, capture_output=True)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, tmp_path / "key.pem")
    with Server() as secure:
        secure.socket = context.wrap_socket(secure.socket, server_side=True)
        thread = threading.Thread(target=secure.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            url = secure.url.replace("http:", "https:")
            with pytest.raises(InputError, match="expected a redirect to https; received: one to http://"):
                fetch_files([published(f"{url}/redirect?to={server.url}/good")], folder, mirrors=[])
            assert server.asked == []
            fetch_files([published(f"{url}/redirect?to={url}/good")], folder, mirrors=[])
        finally:
            secure.shutdown()
            thread.join()
    assert (folder / "data.bin").read_bytes() == CONTENT


def test_progress_counts_what_this_run_brings(server, folder, capfd):
    """Without a terminal: a line when a file is there, from where, and one for each address that is tried again."""
    fetch_files([published(f"{server.url}/cut-once")], folder, mirrors=[])
    place = re.escape(f"from {server.url}/cut-once")
    assert re.search(rf"data\.bin: 1\.0 MB/1\.0 MB, [\d.]+ \wB/s, in 0 s, {place}\n$", capfd.readouterr().err)


def test_a_full_disk_is_said(server, folder):
    """Where there is no room, the system's own error reaches the stage, which says it in one line; nothing is put in place."""
    program = textwrap.dedent(KILLED.format(checksum=CHECKSUM))
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n" + program
    ended = subprocess.run(
        [sys.executable, "-c", limited, f"{server.url}/good", str(folder)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        # Python would leave byte code cut at this size, and no later process could import the module.
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert "File too large" in ended.stderr.splitlines()[-1]
    assert not folder.exists()
