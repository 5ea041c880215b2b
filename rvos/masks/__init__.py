"""What travels between the stages: masks, tracks, and the files that hold them.

Everything but the errors is imported when it is asked for: masks need neither OpenCV nor ijson.
"""

from typing import TYPE_CHECKING

from rvos import lazily
from rvos.errors import FileError, MaskError

if TYPE_CHECKING:
    from rvos.masks.draw import comment_of, overlay, write_overlays, write_video
    from rvos.masks.files import (
        file_sha256,
        file_stamp,
        find_json,
        read_json,
        read_pixels,
        read_text,
        split_lines,
        stream_json,
        write_bytes,
        write_json,
    )
    from rvos.masks.rle import (
        MISSING_FRAME,
        RLE,
        Box,
        Mask,
        MaskletScores,
        MaskletTracks,
        Track,
        area,
        bounding_box,
        canonical,
        canonical_track,
        check_together,
        decode,
        encode,
        from_coco,
        from_runs,
        majority,
        minus,
        overlap_fractions,
        size_of,
        union,
    )
    from rvos.masks.tracks import TrackFiles

__all__ = [
    "FileError",
    "MaskError",
    "Box",
    "MISSING_FRAME",
    "Mask",
    "MaskletScores",
    "MaskletTracks",
    "RLE",
    "Track",
    "TrackFiles",
    "area",
    "bounding_box",
    "canonical",
    "canonical_track",
    "check_together",
    "comment_of",
    "decode",
    "encode",
    "file_sha256",
    "file_stamp",
    "find_json",
    "from_coco",
    "from_runs",
    "majority",
    "minus",
    "overlap_fractions",
    "overlay",
    "read_json",
    "read_pixels",
    "read_text",
    "size_of",
    "split_lines",
    "stream_json",
    "union",
    "write_bytes",
    "write_json",
    "write_overlays",
    "write_video",
]

__getattr__ = lazily(__name__, __file__)
