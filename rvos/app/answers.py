"""Models choose the masklets of a run: `answers.model=...`, between tracking and refinement.

The run's own rule refines first, in the folder `asked` of the run: what it chose stays where models
choose nothing. Their answers lie there too; then the run goes on with `refine=given`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rvos.app.evaluation import Evaluation
from rvos.ask.answer import ANSWERS, Answering, Options, put_questions
from rvos.ask.questions import Asked
from rvos.data.split import Split
from rvos.errors import InputError
from rvos.settings import make, preset

FOLDER = "asked"


def answered(
    cfg: DictConfig,
    folder: Path,
    refine: Callable[[DictConfig, Path], Any],
    split: Split | None = None,
) -> DictConfig:
    """The settings with the rule that the models' answers are, after asking them.

    `refine` refines by given settings into a folder; `split` None is that of the settings. Raises
    InputError.
    """
    first, then = (OmegaConf.create(OmegaConf.to_container(cfg)) for _ in range(2))
    assert isinstance(first, DictConfig) and isinstance(then, DictConfig)
    options = make(Options, "answers", _plain(cfg.answers))
    run = folder / FOLDER
    options.parts(run / "ask")  # a missing key or prompt is said before hours of work
    several = cfg.get("trainer") is not None and (
        cfg.trainer.devices not in (1, "1") or cfg.trainer.num_nodes != 1
    )
    if several or cfg.get("shard") is not None:
        raise InputError(
            "answers.model: expected one process (trainer.devices=1, no shard); run without it "
            "first, which makes the masks on as many as there are"
        )
    if cfg.refine.name in ("none", "given"):
        raise InputError(
            "answers.model: expected a rule whose choice stays where models choose nothing, such "
            f"as refine=vote, got refine={cfg.refine.name}"
        )
    first.ablation = preset("ablation", "none")
    if "report" in first:
        first.report = preset("report", "none")
        first.submission, first.logger.wandb = False, None
    path = run / "ask" / ANSWERS
    then.refine = preset("refine", "given") | {"path": str(path)}
    Evaluation.of(then)  # what does not go with answers, a grid say, is refused now
    refine(first, run)
    asked = Asked.of(run, split)
    put_questions(Answering.of(options, asked, run / "ask"), path, run)
    return then


def _plain(cfg: DictConfig) -> dict[str, Any]:
    settings: Any = OmegaConf.to_container(cfg, resolve=True)
    return settings
