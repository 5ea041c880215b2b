"""One's own video + sentences -> masks and overlay videos.

    python predict.py video=my.mp4 expression="the cat walking left"

Settings: conf/predict.yaml. The stages are those of eval.py, with their stores in the run folder
(`output_dir`); a second start with the same settings goes on from what is there.
"""

from functools import partial

from omegaconf import DictConfig

from rvos import all_checked
from rvos.app.entry import ask_for_weights, build, entry_point, plain, run_folder

RESULTS = ("index.html", "refined", "decisions")


@entry_point("predict")
def main(cfg: DictConfig) -> None:
    """Read, segment, track, refine, draw."""
    ask_for_weights(cfg)
    # Imported here, so that --help is quick.
    from rich.console import Console

    from rvos.app.evaluation import NoMasklets, check_scores
    from rvos.app.own_video import (
        Output,
        Thinning,
        device_of,
        inputs_of,
        note_of,
        read_sentences,
    )
    from rvos.data.split import own_split
    from rvos.refine import KeepCoarse, check_given, make_rule
    from rvos.score.ablation import REFINED
    from rvos.score.evaluate import evaluate_video
    from rvos.score.inputs import Inputs
    from rvos.stages.devices import OneDevice
    from rvos.stages.run_folder import claim_folder
    from rvos.stages.store import Stores

    rule, presence, coarse, masklets, output, thin = all_checked(
        lambda: make_rule(**plain(cfg)["refine"]),
        *(partial(build, cfg[group]) for group in ("presence", "coarse", "masklets")),
        lambda: Output(cfg.video, cfg.masks, cfg.fps),
        lambda: Thinning(cfg.every, cfg.max_frames),
    )
    if isinstance(rule, KeepCoarse) and not presence.needs_masklets:
        masklets = NoMasklets()
    sentences = read_sentences(cfg.expression, cfg.expressions)
    split = own_split(cfg.video, sentences, every=thin.every, max_frames=thin.max_frames)
    folder = run_folder()
    stores = Stores(folder / "stores", "own")
    all_checked(
        lambda: coarse.check(split),
        lambda: masklets.check(split, stores, None, write=False),
        lambda: check_scores(presence, coarse, masklets),
        lambda: check_given([rule], split.expression_ids),
    )
    claim_folder(folder, plain(cfg), inputs=inputs_of(cfg, split), results=RESULTS)

    devices = OneDevice(device_of(cfg.device, uses_gpu=coarse.uses_gpu or masklets.uses_gpu))
    tracks = coarse.tracks(split, stores, devices)
    found = masklets.tracks(split, stores, devices, None)
    needs = [presence.name] if presence.reads_scores else []
    (video,) = Inputs(split, None, tracks, found.tracks, found.nouns, needs=needs).read()
    check_given([rule], {video.video.name: video.num_masklets})
    evaluate_video(video, {REFINED: presence.on(rule)}, {}, folder)

    page = output.write(folder, split, video.nouns, note=note_of(cfg))
    Console().print(f"page: {page}", soft_wrap=True)


if __name__ == "__main__":
    main()
