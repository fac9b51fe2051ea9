"""Archives that tests make, and the mirror of real data where there is one."""

import io
import os
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MIRROR = Path(os.environ.get("CNNKERAS_TEST_MIRROR") or Path(__file__).parents[2] / "shared" / "mirror")
needs_mirror = pytest.mark.skipif(not MIRROR.is_dir(), reason=f"no mirror of real data at {MIRROR}")
ANY_CHECKSUM = "0" * 64


def image(width: int, height: int, kind: str = "JPEG", *, value: int = 90, mode: str = "RGB") -> bytes:
    """An image file of one colour."""
    stream = io.BytesIO()
    Image.fromarray(np.full((height, width, 3), value, np.uint8)).convert(mode).save(stream, kind)
    return stream.getvalue()


def write_archive(path: Path, files: Mapping[str, bytes]) -> None:
    """A .zip, or a .tar that is compressed if its name says so."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return
    with tarfile.open(path, "w:gz" if path.suffix in (".gz", ".tgz") else "w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
