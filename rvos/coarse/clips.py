"""Lengths of videos -> which frames enter the network together (sub-clips), for each expression.

`fixed` cuts every video into sub-clips of about `clip_length` frames. `released_script` replays a
defect of the script that was released with the method: it overwrites its own clip length with the
length of the last sub-clip, so that later expressions and videos get ever shorter ones
(MeViS_Track_Solution_2024, inference_mevis.py). Both are pure functions of lengths and order.
"""

from collections.abc import Sequence
from typing import Literal

from rvos.data.split import Video

Sampling = Literal["strided", "contiguous"]
ClipPlan = Literal["fixed", "released_script"]
Clips = tuple[range, ...]  # frame indices of each sub-clip; together every frame exactly once


def cut(num_frames: int, clip_length: int, sampling: Sampling) -> Clips:
    """Cut one video into n sub-clips (inference_mevis.py).

    n = floor(num_frames / clip_length), at least 1, plus 1 if frames are left over and the video is
    longer than a clip. strided: sub-clip k has frames k, k + n, k + 2n, ..., at most `clip_length`
    of them (61 frames at 30 make 21, 20 and 20). contiguous: `clip_length` frames each, the last
    one fewer. Raises ValueError for numbers below 1.
    """
    if num_frames < 1 or clip_length < 1:
        raise ValueError(f"{num_frames} frames in clips of {clip_length}: expected both >= 1")
    num_clips = max(1, num_frames // clip_length)
    if num_frames > clip_length and num_frames % clip_length:
        num_clips += 1
    if sampling == "strided":
        return tuple(range(k, num_frames, num_clips) for k in range(num_clips))
    starts = (k * clip_length for k in range(num_clips))
    return tuple(range(start, min(start + clip_length, num_frames)) for start in starts)


def released_script_lengths(
    videos: Sequence[tuple[int, int]], clip_length: int, sampling: Sampling, processes: int = 1
) -> list[list[int]]:
    """The clip length that the released script has reached at each expression of each video.

    `videos`: (number of frames, number of expressions) in the script's order. It gives each of its
    `processes` (its option --ngpu) an equal run of them and the rest to the last; each process
    starts anew with `clip_length`.
    """
    share = len(videos) // processes
    starts = {process * share for process in range(processes)}
    lengths: list[list[int]] = []
    length = clip_length
    for video_idx, (num_frames, num_expressions) in enumerate(videos):
        if video_idx in starts:
            length = clip_length
        row = []
        for _ in range(num_expressions):
            row.append(length)
            length = len(cut(num_frames, length, sampling)[-1])
        lengths.append(row)
    return lengths


def plan_clips(
    videos: Sequence[Video],
    *,
    clip_plan: ClipPlan,
    clip_length: int,
    sampling: Sampling,
    processes: int,
) -> dict[str, tuple[Clips, ...]]:
    """{video name: sub-clips of each of its expressions}.

    `videos` is the whole split: the released script processes it in the order of the names.
    """
    ordered = sorted(videos, key=lambda video: video.name)
    sizes = [(len(video.frames), len(video.expressions)) for video in ordered]
    if clip_plan == "fixed":
        lengths = [[clip_length] * num_expressions for _, num_expressions in sizes]
    else:
        lengths = released_script_lengths(sizes, clip_length, sampling, processes)
    return {
        video.name: tuple(cut(len(video.frames), length, sampling) for length in row)
        for video, row in zip(ordered, lengths, strict=True)
    }
