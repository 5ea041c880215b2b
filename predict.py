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

    from rvos.app import own_video as own
    from rvos.data.split import own_split
    from rvos.refine import check_given, make_rule
    from rvos.score.ablation import REFINED
    from rvos.score.evaluate import evaluate_video
    from rvos.score.inputs import Inputs
    from rvos.stages.devices import OneDevice
    from rvos.stages.run_folder import claim_folder
    from rvos.stages.store import Stores

    rule, presence, coarse, masklets, output, thin = all_checked(
        lambda: make_rule(**plain(cfg)["refine"]),
        *(partial(build, cfg[group]) for group in ("presence", "coarse", "masklets")),
        lambda: own.Output(cfg.video, cfg.masks, cfg.fps),
        lambda: own.Thinning(cfg.every, cfg.max_frames),
    )
    masklets = own.needed(masklets, rule, presence)
    split = own_split(cfg.video, own.read_sentences(cfg.expression, cfg.expressions), **vars(thin))
    stores = Stores((folder := run_folder(cfg)) / "stores", "own")
    own.check_all(rule, presence, coarse, masklets, split, stores)
    claim_folder(folder, plain(cfg), inputs=own.inputs_of(cfg, split), results=RESULTS)

    devices = OneDevice(own.device_of(cfg.device, uses_gpu=coarse.uses_gpu or masklets.uses_gpu))
    tracks = coarse.tracks(split, stores, devices)
    found = masklets.tracks(split, stores, devices, None, tracks)
    files = (tracks, found.tracks, found.nouns)
    needs = [presence.name] if presence.reads_scores else []
    inputs = Inputs(split, None, *files, by_expression=found.by_expression, needs=needs)
    (video,) = inputs.read()
    check_given([rule], {video.video.name: video.num_masklets})
    evaluate_video(video, {REFINED: presence.on(rule)}, {}, folder)

    page = output.write(folder, split, video, note=own.note_of(cfg))
    Console().print("page:", page, soft_wrap=True)


if __name__ == "__main__":
    main()
