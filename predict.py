"""One's own video + sentences -> masks and overlay videos.

    python predict.py video=my.mp4 expression="the cat walking left"

Settings: conf/predict.yaml. The stages are those of eval.py, with their stores in the run folder
(`output_dir`); a second start with the same settings goes on from what is there.
"""

from omegaconf import DictConfig

from rvos import Checks
from rvos.app.entry import ask_for_weights, build, entry_point, plain, run_folder

RESULTS = ("index.html", "refined", "decisions")


@entry_point("predict")
def main(cfg: DictConfig) -> None:
    """Read, segment, track, refine, draw."""
    # Imported here, so that --help is quick.
    from rich.console import Console

    from rvos.app import own_video as own
    from rvos.data.split import own_split
    from rvos.refine import make_rule
    from rvos.stages.devices import OneDevice
    from rvos.stages.run_folder import claim_folder
    from rvos.stages.store import Stores

    with Checks() as check:
        rule = check(make_rule, **plain(cfg)["refine"])
        presence, coarse = check(build, cfg.presence), check(build, cfg.coarse)
        masklets = check(build, cfg.masklets)
        output = check(own.Output, cfg.video, cfg.masks, cfg.fps)
        thin = check(own.Thinning, cfg.every, cfg.max_frames)
        texts = check(own.read_sentences, cfg.expression, cfg.expressions)
    masklets = own.needed(masklets, rule, presence)
    with Checks() as check:
        check(own.check_device, cfg.device, uses_gpu=coarse.uses_gpu or masklets.uses_gpu)
        check(ask_for_weights, cfg, own.groups_used(masklets))
        split = check(own_split, cfg.video, texts, **vars(thin))
    stores = Stores((folder := run_folder(cfg)) / "stores", "own")
    own.check_all(rule, presence, coarse, masklets, split, stores)
    claim_folder(folder, plain(cfg), inputs=own.inputs_of(cfg, split), results=RESULTS)

    devices = OneDevice(cfg.device)
    tracks = coarse.tracks(split, stores, devices)
    found = masklets.tracks(split, stores, devices, None, tracks)
    video = own.refine(split, tracks, found, rule, presence, folder)
    page = output.write(folder, split, video, note=own.note_of(cfg))
    Console().print("page:", page, soft_wrap=True)


if __name__ == "__main__":
    main()
