"""Downloads against a real local server: where a file comes from, and what is kept when something is wrong."""

import hashlib
import http.server
import os
import re
import threading

import pytest
from rich import filesize

from pipeline.files import fetch
from pipeline.files.fetch import fetch_files
from pipeline.files.published import PublishedFile
from pipeline.runtime import paths
from pipeline.runtime.errors import InputError
from pipeline.runtime.guard import stage
from pipeline.stages import download

CONTENT = bytes(range(256)) * 5000
CHECKSUM = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT under /good, and in a broken way under other paths; `asked` lists what was asked for."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        part = self.path.split("/")[1]
        if part == "missing":
            self.send_error(404)
            return
        body = {"other": b"another file", "truncated": CONTENT[:1000]}.get(part, CONTENT)
        announced = len(CONTENT) if part == "truncated" else len(body)
        self.send_response(200)
        if part != "silent":
            self.send_header("Content-Length", str(announced))
        if part == "compressing" and "gzip" in self.headers.get("Accept-Encoding", ""):
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        """Say nothing on the terminal."""


@pytest.fixture(autouse=True)
def _once(monkeypatch):
    """tests/test_fetch.py is about further tries."""
    monkeypatch.setattr(fetch, "ATTEMPTS", 1)


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def published(*urls, **changes):
    return PublishedFile(**{"name": "folder/data.bin", "urls": urls, "sha256": CHECKSUM} | changes)


def everything_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("kind", ["good", "silent", "compressing"])
def test_a_file_is_fetched_and_verified(server, tmp_path, kind):
    """With or without a length from the server, and never compressed on the way."""
    fetch_files([published(f"{server.url}/{kind}/data.bin", size=len(CONTENT))], tmp_path, mirrors=[])
    assert (tmp_path / "folder" / "data.bin").read_bytes() == CONTENT
    assert everything_below(tmp_path) == ["folder/data.bin"]


@pytest.mark.parametrize("kind", ["good", "silent"])
def test_what_was_fetched_is_one_line_where_nobody_looks(server, tmp_path, capsys, kind):
    """How much and from where, once it is verified; also from a server that does not say how much there will be."""
    url = f"{server.url}/{kind}/data.bin"
    fetch_files([published("file:///nowhere/data.bin", url)], tmp_path, mirrors=[])
    line = rf"folder/data\.bin: 1\.3 MB/1\.3 MB, ([\d.]+ \w+/s, )?in \d+ s, from {re.escape(url)}\n"
    assert re.fullmatch(line, capsys.readouterr().err)


def test_the_next_address_is_tried(server, tmp_path):
    """A missing file, another file and a truncated one are passed over; the order is that of the entry."""
    urls = [f"{server.url}/{kind}/data.bin" for kind in ("missing", "other", "truncated", "good")]
    fetch_files([published("file:///nowhere/data.bin", *urls)], tmp_path, mirrors=[])
    assert (tmp_path / "folder" / "data.bin").read_bytes() == CONTENT
    assert server.asked == [f"/{kind}/data.bin" for kind in ("missing", "other", "truncated", "good")]


def test_mirrors_come_first(server, tmp_path):
    """A mirror - a folder, a file:// address or a URL - is asked for the file's whole name before its own addresses."""
    mirror = tmp_path / "mirror"
    (mirror / "folder").mkdir(parents=True)
    (mirror / "folder" / "data.bin").write_bytes(CONTENT)
    for number, base in enumerate([str(mirror), mirror.as_uri(), f"{mirror}/"]):
        fetch_files([published(f"{server.url}/good/data.bin")], tmp_path / str(number), mirrors=[base])
        assert everything_below(tmp_path / str(number)) == ["folder/data.bin"]
    assert server.asked == []
    fetch_files([published()], tmp_path / "web", mirrors=["/nowhere", f"{server.url}/good"])
    assert server.asked == ["/good/folder/data.bin"]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "404"),
        ("other", f"sha256 {hashlib.sha256(b'another file').hexdigest()} \\(12 bytes\\)"),
        ("truncated", "IncompleteRead|1,000 bytes instead of"),
    ],
)
def test_a_wrong_file_is_named_and_not_kept(server, tmp_path, kind, message):
    """One line says what was expected and what each address gave; nothing is left behind."""
    url = f"{server.url}/{kind}/data.bin"
    with pytest.raises(InputError, match=message) as failure:
        fetch_files([published(url)], tmp_path, mirrors=[])
    assert url in str(failure.value)
    assert CHECKSUM in str(failure.value)
    assert "\n" not in str(failure.value)
    assert everything_below(tmp_path) == []


def test_a_wrong_size_is_refused(server, tmp_path):
    """A file longer or shorter than its entry says is none of it, even before its checksum is known."""
    for size in (len(CONTENT) - 1, len(CONTENT) + 1):
        with pytest.raises(InputError, match="bytes"):
            fetch_files([published(f"{server.url}/silent/data.bin", size=size)], tmp_path, mirrors=[])


def test_several_checksums_may_be_right(server, tmp_path):
    """A file that was published in several versions lists them all."""
    fetch_files([published(f"{server.url}/good/x", sha256=["0" * 64, CHECKSUM])], tmp_path, mirrors=[])
    assert everything_below(tmp_path) == ["folder/data.bin"]


@pytest.mark.parametrize("name", ["../data.bin", "/etc/data.bin", "a\\b", ""])
def test_names_stay_below_the_folder(name):
    """A file's name cannot lead out of the source's folder."""
    with pytest.raises(ValueError, match=r"relative path without '\.\.'"):
        published(name=name)


# ---- the stage ----

PARAMS = """\
seed: 1
{mirror}
sources:
  fashion:
    kind: idx
    classes: [a, b]
    files:
      train_images: {{name: a.gz, urls: ["{url}/a.gz"], sha256: {checksum}}}
      train_labels: {{name: b.gz, urls: ["{url}/b.gz"], sha256: {checksum}}}
      test_images: {{name: c.gz, urls: ["{url}/c.gz"], sha256: {checksum}}}
      test_labels: {{name: d.gz, urls: ["{url}/d.gz"], sha256: {checksum}}}
datasets: {{}}
experiments: {{}}
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(url, mirror="", checksum=CHECKSUM):
        text = PARAMS.format(url=url, mirror=f"mirror: {mirror}" if mirror else "", checksum=checksum)
        (tmp_path / "params.yaml").write_text(text)
        return tmp_path

    return write


def test_present_files_need_no_network(server, project):
    """A second run finds the verified files where the first left them, and asks nobody."""
    root = project(f"{server.url}/good")
    download.run("fashion")
    assert len(server.asked) == 4
    download.run("fashion")
    assert len(server.asked) == 4
    assert everything_below(root / "data") == [f"raw/fashion/{letter}.gz" for letter in "abcd"]


def test_a_damaged_file_is_fetched_again(server, project):
    """What lies there is verified too."""
    root = project(f"{server.url}/good")
    download.run("fashion")
    (root / "data/raw/fashion/b.gz").write_bytes(b"damaged")
    download.run("fashion")
    assert (root / "data/raw/fashion/b.gz").read_bytes() == CONTENT
    assert server.asked[4:] == ["/good/b.gz"]


def test_a_failed_download_leaves_nothing_new(server, project):
    """When one of four files cannot be had, the stage fails with one line and the folder is as it was; the next run needs that one only."""
    root = project(f"{server.url}/good")
    text = (root / "params.yaml").read_text().replace("good/d.gz", "missing/d.gz")
    (root / "params.yaml").write_text(text)
    with pytest.raises(InputError, match=r"expected d\.gz with sha256"):
        download.run("fashion")
    assert not (root / "data/raw/fashion").exists()
    assert {name.split("/")[1] for name in everything_below(root / "data")} <= {".downloads"}


def test_the_mirror_of_params_and_environment(server, project, monkeypatch):
    """The environment's mirror wins over the one in params.yaml; a relative folder is below the project."""
    root = project("http://127.0.0.1:9", mirror="my_mirror")
    (root / "my_mirror").mkdir()
    for letter in "abcd":
        (root / "my_mirror" / f"{letter}.gz").write_bytes(CONTENT)
    download.run("fashion")
    assert len(everything_below(root / "data")) == 4
    for file in (root / "data/raw/fashion").iterdir():
        file.unlink()
    monkeypatch.setenv(download.MIRROR_VARIABLE, f"{server.url}/good")
    download.run("fashion")
    assert sorted(server.asked) == [f"/good/{letter}.gz" for letter in "abcd"]


def test_an_unknown_source_is_named(project):
    """The message lists the sources that exist."""
    project("http://127.0.0.1:9")
    with pytest.raises(InputError, match=r"unknown source 'fashio'.*did you mean 'fashion'"):
        download.run("fashio")


def test_licence_and_citation_are_shown(server, project, capsys):
    """Who downloads data learns under which terms, and whom to cite."""
    root = project(f"{server.url}/good")
    text = (root / "params.yaml").read_text()
    (root / "params.yaml").write_text(
        text.replace("kind: idx", "kind: idx\n    license: MIT\n    citation: Xiao et al. 2017")
    )
    download.run("fashion")
    files = [file for file in (root / "data/raw/fashion").rglob("*") if file.is_file()]
    size = filesize.decimal(sum(file.stat().st_size for file in files))
    assert capsys.readouterr().out.splitlines() == [
        "fashion: licence: MIT",
        "fashion: please cite: Xiao et al. 2017",
        f"download fashion: {len(files)} file{'s' * (len(files) > 1)}, {size} -> data/raw/fashion",
    ]


def test_two_runs_at_once_are_refused(server, project):
    """While one process downloads a source, a second one is told which; afterwards it finds everything there."""
    project(f"{server.url}/good")
    with stage("download", "fashion", inputs=[], outputs=[paths.raw("fashion")]):
        with pytest.raises(InputError, match=rf"only run; received: process {os.getpid()} is running it"):
            download.run("fashion")
        for file in "abcd":
            (paths.raw("fashion").with_name(".partial-fashion") / f"{file}.gz").write_bytes(CONTENT)
    download.run("fashion")
    assert server.asked == []
