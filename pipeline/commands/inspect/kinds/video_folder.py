"""Videos in a folder per class, below folders of splits or not."""

from pathlib import PurePosixPath

from pipeline.commands.inspect.data import Data, Found, below, common_root, parts_of, several, splits
from pipeline.images.videos import is_video

RANK = 8


def recognise(data: Data) -> Found | None:
    """Data of this kind, if there are more videos than images, each in a folder of its class."""
    videos = [name for name in data.names if is_video(name)]
    if len(videos) <= len(data.images):
        return None
    root = common_root(videos)
    paths = [PurePosixPath(name).parts for name in below(videos, root)]
    parts = parts_of({path[0] for path in paths if len(path) > 2})
    if "train" in parts:
        taken = [path[1:] for path in paths if path[0] in parts.values() and len(path) > 2]
    else:
        parts, taken = {"train": "."}, [path for path in paths if len(path) > 1]
    folders = sorted({path[0] for path in taken})
    if len(folders) < 2:
        return None
    odd = [f"videos outside the classes' folders: {several(path[-1] for path in paths if len(path) < 2)}"]
    odd = odd[: any(len(path) < 2 for path in paths)]
    odd.append("a frame of each second is taken: every_seconds says another time")
    entry = {**({"root": root} if root else {}), "folders": folders, "splits": splits(parts)}
    return Found("video_folder", "videos in a folder per class", ("classification",), entry, odd=odd)
