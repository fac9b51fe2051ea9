"""Archives read in place: every kind, nested in each other, and those that mean harm."""

import gzip
import io
import multiprocessing
import os
import resource
import tarfile
import zipfile

import pytest

from pipeline.files import archives
from pipeline.files.archives import Archives
from pipeline.runtime.errors import InputError

FILES = {"data/a.jpg": b"first" * 300, "data/b.txt": b"", "./c d.png": os.urandom(2000)}
EXPECTED = {name.removeprefix("./"): data for name, data in FILES.items()}
KINDS = ("x.tar", "x.tgz", "x.tar.gz", "x.tar.bz2", "x.tar.xz", "x.zip")


def packed(name, files):
    """The bytes of an archive of the kind that its name says."""
    stream = io.BytesIO()
    if name.endswith(".zip"):
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, data in files.items():
                archive.writestr(member, data)
        return stream.getvalue()
    mode = {"tgz": "gz", "tar": ""}.get(ending := name.rpartition(".")[2], ending)
    with tarfile.open(fileobj=stream, mode=f"w:{mode}") as archive:
        for member, data in files.items():
            info = tarfile.TarInfo(member)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def written(folder, name, files):
    (folder / name).write_bytes(packed(name, files))
    return folder / name


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_read(tmp_path, kind):
    """Plain or compressed, members come by name in any order, and the folder holds nothing new."""
    opened = Archives([written(tmp_path, kind, FILES)])
    assert list(opened) == list(EXPECTED)
    assert {name: opened[name] for name in reversed(list(opened))} == EXPECTED
    assert [path.name for path in tmp_path.iterdir()] == [kind]


@pytest.mark.parametrize("inner", KINDS)
@pytest.mark.parametrize("outer", ["y.tar", "y.tgz", "y.zip"])
def test_archives_inside_archives_are_read(tmp_path, outer, inner):
    """As in ImageNet's .tar of a .tar per class: a nested archive's members have its name before theirs; it is none itself."""
    path = written(tmp_path, outer, {"readme": b"hello", f"train/{inner}": packed(inner, FILES)})
    expected = {"readme": b"hello"} | {f"train/{inner}/{name}": data for name, data in EXPECTED.items()}
    assert dict(Archives([path])) == expected


def test_the_first_archive_with_a_name_gives_it(tmp_path):
    """Several archives are read as one."""
    first = written(tmp_path, "1.tar", {"a": b"one", "b": b"one"})
    second = written(tmp_path, "2.zip", {"b": b"two", "c": b"two"})
    assert dict(Archives([first, second])) == {"a": b"one", "b": b"one", "c": b"two"}


def read_all(opened, queue):
    queue.put(dict(opened))


@pytest.mark.parametrize("kind", ["x.tgz", "x.zip"])
def test_forked_processes_read_at_once(tmp_path, kind):
    """Positions in a file are nobody's common property: each process gets all members whole."""
    files = {str(number): os.urandom(50_000) for number in range(40)}
    opened = Archives([written(tmp_path, kind, files)])
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [context.Process(target=read_all, args=(opened, queue)) for _ in range(3)]
    for process in processes:
        process.start()
    answers = [queue.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    assert all(answer == files for answer in answers)


def test_names_are_names_only(tmp_path):
    """A member called ../x or /etc/x is bytes under that name: reading it writes nothing anywhere."""
    names = ("../outside", "/etc/outside", "a/../../outside")
    for kind in ("x.tgz", "x.zip"):
        opened = Archives([written(tmp_path, kind, dict.fromkeys(names, b"data"))])
        assert [opened[name] for name in names] == [b"data"] * 3
    assert not (tmp_path.parent / "outside").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.tgz", "x.zip"]


def test_links_and_devices_are_refused(tmp_path):
    """A symbolic link, a hard link and a device are no members; who asks for one learns why."""
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name, kind in (("soft", tarfile.SYMTYPE), ("hard", tarfile.LNKTYPE), ("device", tarfile.CHRTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        info = zipfile.ZipInfo("zipped")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    opened = Archives([tmp_path / "x.tar", tmp_path / "x.zip"])
    assert list(opened) == []
    for name in ("soft", "hard", "device", "zipped"):
        with pytest.raises(InputError, match=f"a member {name}; received: a link or device"):
            opened[name]
    with pytest.raises(InputError, match="none of that name"):
        opened["other"]
    assert opened.refused == {"soft", "hard", "device", "zipped"}


@pytest.mark.parametrize("kind", ["x.tgz", "x.tar.xz", "x.zip", "nested.tar", "nested.zip"])
def test_bombs_are_refused(tmp_path, monkeypatch, kind):
    """What grows a thousandfold when it is decompressed is stopped at 200 times its size, nested or not."""
    monkeypatch.setattr(archives, "HARMLESS_BYTES", 2**20)
    bomb = {"zeros": bytes(8 * 2**20)}
    files = {"inner.tgz": packed("inner.tgz", bomb)} if kind.startswith("nested") else bomb
    with pytest.raises(InputError, match=r"expected at most 200 times .* does not look like a data set"):
        Archives([written(tmp_path, kind, files)])


def test_too_many_members_and_too_large_ones_are_refused(tmp_path, monkeypatch):
    """Counts are limited while the archive is listed, sizes before a member is read."""
    monkeypatch.setattr(archives, "MAX_MEMBERS", 10)
    monkeypatch.setattr(archives, "MAX_MEMBER_BYTES", 100)
    for kind in ("x.tar", "x.zip"):
        with pytest.raises(InputError, match="at most 10 members"):
            Archives([written(tmp_path, kind, {str(number): b"" for number in range(11)})])
        opened = Archives([written(tmp_path, kind, {"large": bytes(101), "small": bytes(100)})])
        assert opened["small"] == bytes(100)
        with pytest.raises(InputError, match="at most 100 bytes; received: large of 101"):
            opened["large"]


def test_a_zip_that_lies_about_a_size_is_refused(tmp_path):
    """A member that is longer than it claims to be is damaged, not read on."""
    path = written(tmp_path, "x.zip", {"a": bytes(5000)})
    data, lie = path.read_bytes(), (100).to_bytes(4, "little")
    path.write_bytes(data.replace((5000).to_bytes(4, "little"), lie))
    with pytest.raises(InputError, match="expected to read a; received: Bad CRC"):
        Archives([path])["a"]


def test_archives_nested_without_end_are_refused(tmp_path):
    """Three levels are read, a fourth is not."""
    data = {"a": b"deep"}
    for level in range(archives.MAX_NESTING):
        data = {f"{level}.tar": packed("x.tar", data)}
    assert dict(Archives([written(tmp_path, "x.tar", data)])) == {"2.tar/1.tar/0.tar/a": b"deep"}
    with pytest.raises(InputError, match="nested 3 deep at most"):
        Archives([written(tmp_path, "y.tar", {"3.tar": packed("x.tar", data)})])


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_named(tmp_path, kind):
    """A cut archive, and one of noise, are one line with the likely fix."""
    path = written(tmp_path, kind, {"a": os.urandom(20_000), "b": os.urandom(20_000)})
    whole = path.read_bytes()
    for data in (b"", whole[:30], whole[: len(whole) // 2], os.urandom(5000)):
        path.write_bytes(data)
        with pytest.raises(InputError, match=rf"{kind}: expected .*; received: .*run `cnnkeras download`") as failure:
            Archives([path])
        assert "\n" not in str(failure.value)


@pytest.mark.parametrize("kind", ["x.tgz", "x.tar.bz2", "x.tar.xz"])
def test_a_flipped_bit_in_a_compressed_archive_is_found(tmp_path, kind):
    """The compressed stream's own checksum is compared when it is decompressed."""
    path = written(tmp_path, kind, {"a": os.urandom(20_000)})
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=rf"{kind}: expected"):
        Archives([path])


@pytest.mark.parametrize("kind", ["x.tar", "x.tgz"])
def test_damage_between_members_is_no_end(tmp_path, kind):
    """A .tar has no list of its members: after a damaged header the rest would be missing without a word."""
    tar = bytearray(packed("x.tar", {name: name.encode() for name in "abc"}))
    tar[2 * 512 + 5] ^= 1  # the header of b
    (tmp_path / kind).write_bytes(bytes(tar) if kind == "x.tar" else gzip.compress(tar))
    with pytest.raises(InputError, match=rf"{kind}: expected a \.tar .* received: no member at byte 1,024"):
        Archives([tmp_path / kind])


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"Rar!\x1a\x07", r"a \.rar"),
        (b"7z\xbc\xaf\x27\x1c", r"a \.7z"),
        (b"\x28\xb5\x2f\xfd", "Zstandard"),
        (gzip.compress(gzip.compress(b"x")), "compressed twice"),
    ],
)
def test_archives_of_other_kinds_are_named(tmp_path, start, name):
    """So that nobody fetches a whole file again."""
    (tmp_path / "x.zip").write_bytes(start + bytes(100) * (start[:2] != b"\x1f\x8b"))
    with pytest.raises(InputError, match=rf"x\.zip: expected .* received: .*{name}.*\. Pack its files again"):
        Archives([tmp_path / "x.zip"])


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    """Where a compressed archive finds no room, the message says where, and how to choose another place."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    path = written(tmp_path, "x.tgz", {"zeros": bytes(2**20)})
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**18, former[1]))  # as `ulimit -f` sets it
    try:
        with pytest.raises(InputError, match=f"expected room in {tmp_path}.*Set TMPDIR"):
            Archives([path])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)


def test_descriptors_are_closed(tmp_path):
    """An archive that nobody reads any more holds no file open."""
    path = written(tmp_path, "x.tgz", FILES)
    archives._opened.cache_clear()
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    opened = Archives([path])
    assert len(os.listdir("/proc/self/fd")) == before + 1  # noqa: PTH208 - the decompressed copy; the archive is closed
    del opened
    archives._opened.cache_clear()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
