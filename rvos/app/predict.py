"""One's own video + sentences -> masks and overlay videos.

    rvos predict video=my.mp4 expression="the cat walking left"

Settings: conf/predict.yaml. The stages are those of eval.py, with their stores in the run folder
(`output_dir`); a second start with the same settings goes on from what is there.
"""

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from rvos.app.entry import (
    entry_point,
    folder_is_fixed,
    is_multirun,
    plain,
    run_folder,
    weights_used,
)

RESULTS = ("index.html", "refined", "decisions")


@entry_point("predict", short_help=True)
def main(cfg: DictConfig) -> None:
    """Read, segment, track, refine, draw."""
    # Imported here, so that --help is quick.
    from rich.console import Console

    from rvos import Checks
    from rvos.app import own_video as own
    from rvos.app.evaluation import Evaluation
    from rvos.data.split import own_split
    from rvos.masklets import NoMasklets
    from rvos.stages.devices import OneDevice
    from rvos.stages.run_folder import check_effects, claim_folder, keep_split
    from rvos.stages.store import Stores
    from rvos.stages.work import Work
    from rvos.weights.local import obtain

    with Checks() as check:
        todo = check(Evaluation.of, cfg)
        output = check(own.Output, cfg.video, cfg.masks, cfg.fps)
        thin = check(own.Thinning, cfg.every, cfg.max_frames)
        texts = check(own.read_sentences, cfg.expression, cfg.expressions)
    with Checks() as check:
        check(own.offer_small, cfg, uses_gpu=todo.uses_gpu)
        check(own.check_device, cfg.device, uses_gpu=todo.uses_gpu)
        idle = isinstance(todo.masklets, NoMasklets)
        if idle and not is_multirun():  # with refine=none, as experiment=grounded has it
            check(check_effects, "predict", HydraConfig.get().overrides.task, ["masklets"])
        used = weights_used(cfg, ["coarse"] if idle else ["coarse", "masklets"])
        check(obtain, used, ask_only=True)  # the sources fetch when all else is known to be right
        split = check(own_split, cfg.video, texts, **vars(thin))
    folder = run_folder(cfg)
    device = own.choose_device(cfg.device, uses_gpu=todo.uses_gpu)
    work = Work(split, Stores(folder / "stores", "own"), OneDevice(device))
    todo.check(work)
    if cfg.answers.model is not None:
        from rvos.app.answers import answered

        cfg = answered(cfg, folder, lambda _, to: own.refine(todo, todo.make(work), to), split)
        todo = Evaluation.of(cfg)
    claim_folder(folder, plain(cfg), inputs=own.inputs_of(cfg, split), results=RESULTS)
    keep_split(folder, split)

    try:
        inputs = todo.make(work)
        video = own.refine(todo, inputs, folder)
        page = output.write(folder, split, video, note=own.note_of(cfg, inputs))
    except KeyboardInterrupt:
        again = "" if folder_is_fixed() else f"To go on, add output_dir={folder} to this command."
        raise KeyboardInterrupt(again) from None
    Console().print("page:", page, soft_wrap=True)


if __name__ == "__main__":
    main()
