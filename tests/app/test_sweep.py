"""Sweep files: what `wandb sweep` would only refuse online, and running them without W&B."""

import subprocess
import sys

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from rich.console import Console

from rvos import InputError
from rvos.app.entry import CONFIG_DIR
from rvos.app.sweep import overrides_of, print_results, read_sweep, run_sweep
from rvos.masks import write_json
from rvos.report.dashboard import scores
from rvos.report.metrics import Metrics

SWEEPS = sorted((CONFIG_DIR.parent / "sweeps").glob("*.yaml"))
EVALUATED = {
    **{"J": 0.5, "F": 0.5, "J&F": 0.5, "coarse": {"J": 0.25, "F": 0.25, "J&F": 0.25}},
    **{"num_expressions": 1, "num_frames": 1, "split": "x", "refine": {"name": "vote"}},
    "extra": {},
}
LOGGED = {
    "eval.py": set(scores(Metrics.of(EVALUATED))),
    "train.py": {"val/J", "val/F", "val/JF"},
}
GOOD = {
    "name": "x",
    "program": "eval.py",
    "method": "grid",
    "metric": {"name": "refined/JF", "goal": "maximize"},
    "parameters": {"refine.window": {"values": [1, 3]}, "refine.tau": {"value": 0.5}},
    "command": ["${env}", "python", "${program}", "logger=wandb", "${args_no_hyphens}"],
}


def write(path, content):
    OmegaConf.save(OmegaConf.create(content), path)
    return path


def test_there_are_the_four_sweeps():
    assert [p.stem for p in SWEEPS] == ["refine_grid", "refine_tau", "refine_window", "train_lr"]


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_value_of_every_sweep_composes_and_logs_its_metric(path):
    sweep = read_sweep(path)
    assert sweep.name == path.stem
    assert f"name={sweep.name}" in sweep.command and "logger=wandb" in sweep.command
    assert sweep.metric.name in LOGGED[sweep.program]
    seen = set()
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        for run in sweep.runs():
            if set(run.items()) <= seen:  # each of its values has composed already
                continue
            seen |= set(run.items())
            overrides = overrides_of(sweep, run, ["output_dir=x", "logger=wandb"])
            cfg = compose(sweep.program.removesuffix(".py"), overrides)
            for key, value in run.items():
                assert OmegaConf.select(cfg, key) == value
            assert cfg.logger.wandb.group == sweep.name


def test_the_papers_table_and_the_grid():
    by_name = {path.stem: read_sweep(path) for path in SWEEPS if path.stem != "train_lr"}
    window = by_name["refine_window"].runs()
    assert [(r["refine.window"], r["refine.tau"]) for r in window] == [
        (5, 0.8),
        (10, 0.8),
        (15, 0.8),
        (20, 0.8),
    ]
    assert len(by_name["refine_tau"].runs()) == 9
    grid = OmegaConf.load(CONFIG_DIR / "ablation" / "grid.yaml")
    assert by_name["refine_grid"].parameters == {
        "refine.window": list(grid.windows),
        "refine.tau": list(grid.taus),
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "bayes"}, "method: expected grid, got 'bayes'"),
        ({"program": "evil.py"}, "program: expected train.py or eval.py, got 'evil.py'"),
        ({"metric": {"name": "refined/JF"}}, "metric: key missing: goal"),
        ({"metric": {"name": "x", "goal": "max"}}, "metric.goal: .*got 'max'"),
        ({"parameters": 5}, "parameters: expected {key: {value: ...} or .* got 5"),
        ({"parameters": {"a": 5}}, r"parameters.a: expected {value: ...} or .* got 5"),
        ({"parameters": {"a": {"values": []}}}, "parameters.a: .* a list that is not empty"),
        (
            {"parameters": {"a": {"min": 0}, "b": {"value": 1}, "c": {}}},
            r"(?s)parameters.a: .* got {'min': 0}\n  parameters.c: .* got {}",
        ),
        ({"command": ["python", "${program}"]}, "command: expected a list with .*args_no_hyphens"),
        (
            {"command": ["${program}", "${args_no_hyphens}", "${arg}"]},
            r"command: .* got .*\$\{arg\}",
        ),
        ({"parametres": {}}, "no such key: parametres"),
    ],
)
def test_what_would_not_run_is_refused(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        read_sweep(write(tmp_path / "x.yaml", {**GOOD, **change}))


def test_missing_keys_and_files(tmp_path):
    with pytest.raises(InputError, match="x.yaml: cannot be read: No such file"):
        read_sweep(tmp_path / "x.yaml")
    (tmp_path / "y.yaml").write_text("a: [")
    with pytest.raises(InputError, match="not valid YAML"):
        read_sweep(tmp_path / "y.yaml")
    for name, content in {"scalar": b"3", "latin": b"name: caf\xe9"}.items():
        (tmp_path / f"{name}.yaml").write_bytes(content)
        with pytest.raises(InputError, match=f"{name}.yaml: .*(: int|Save it as UTF-8)"):
            read_sweep(tmp_path / f"{name}.yaml")
    content = write(tmp_path / "a.yaml", GOOD).read_text()
    (tmp_path / "marked.yaml").write_text(content, encoding="utf-16")
    assert read_sweep(tmp_path / "marked.yaml") == read_sweep(tmp_path / "a.yaml")
    with pytest.raises(InputError, match="key missing: command"):
        read_sweep(write(tmp_path / "z.yaml", {k: GOOD[k] for k in GOOD if k != "command"}))


def test_overrides_of_the_command_line_win(tmp_path):
    sweep = read_sweep(write(tmp_path / "x.yaml", GOOD))
    run = sweep.runs()[1]
    assert overrides_of(sweep, run, []) == ["refine.window=3", "refine.tau=0.5"]
    extra = ["refine.tau=0.8", "logger=csv"]
    assert overrides_of(sweep, run, extra) == ["refine.window=3", "refine.tau=0.8", "logger=csv"]


def test_it_runs_each_once_and_continues_after_a_failure(tmp_path, made_data):
    """Window 0 is refused by eval.py after window 1 ran; then only what is missing runs."""
    parameters = {"refine.window": {"values": [1, 0]}, "refine.tau": {"value": 0.5}}
    sweep = read_sweep(write(tmp_path / "x.yaml", {**GOOD, "parameters": parameters}))
    data = [part for part in made_data.write() if not part.startswith("output_dir")]
    data += ["coarse=files", "masklets=files"]
    console = Console(record=True, width=200)
    with pytest.raises(InputError, match="refine.window=0,.*status 1"):
        run_sweep(sweep, tmp_path / "runs", data, console)
    before = (tmp_path / "runs" / "refine.window=1,refine.tau=0.5" / "metrics.json").stat()
    with pytest.raises(InputError, match="status 1"):
        run_sweep(sweep, tmp_path / "runs", data, console)
    folder = tmp_path / "runs" / "refine.window=1,refine.tau=0.5"
    assert (folder / "metrics.json").stat() == before
    other = [*data, "score.missing=empty"]
    with pytest.raises(InputError, match="with other overrides: score.missing=empty"):
        run_sweep(sweep, tmp_path / "runs", other, console)
    print_results(sweep, [folder], console)
    text = console.export_text()
    assert "finished before" in text and "refine.window=1,refine.tau=0.5" in text


@pytest.mark.parametrize(("goal", "first"), [("maximize", "b"), ("minimize", "a")])
def test_trainings_are_listed_by_their_metric(tmp_path, goal, first):
    metric = {"name": "val/JF", "goal": goal}
    content = {**GOOD, "program": "train.py", "metric": metric}
    sweep = read_sweep(write(tmp_path / "x.yaml", content))
    for name, score in (("a", 0.25), ("b", 0.5)):
        last = {"val/J": score, "val/F": score, "val/JF": score, "train/loss": 3.0}
        write_json(tmp_path / name / "metrics.json", {"steps": 3, "last": last})
    console = Console(record=True, width=100)
    print_results(sweep, [tmp_path / "a", tmp_path / "b"], console)
    lines = console.export_text().splitlines()
    rows = [line for line in lines if "25.00" in line or "50.00" in line]
    assert len(rows) == 2 and f" {first} " in rows[0]


def test_runs_without_the_metric_are_named_below_the_table(tmp_path):
    """A training whose limits left no room for a validation has no score."""
    content = {**GOOD, "program": "train.py", "metric": {"name": "val/loss", "goal": "minimize"}}
    sweep = read_sweep(write(tmp_path / "x.yaml", content))
    for name, last in (("a", {"val/loss": 0.5}), ("b", {"train/loss": 3.0})):
        write_json(tmp_path / name / "metrics.json", {"steps": 3, "last": last})
    console = Console(record=True, width=100)
    with pytest.raises(InputError, match=r"val/loss is not among .* \(1\):\n  b$"):
        print_results(sweep, [tmp_path / "a", tmp_path / "b"], console)
    text = console.export_text()
    assert "50.00" in text and text.count("val/loss") == 1


def test_command_line_refuses_what_is_no_override():
    command = [sys.executable, "-m", "rvos", "sweep", str(SWEEPS[0]), "logger"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=CONFIG_DIR.parent)
    assert done.returncode == 1 and "expected key=value, got 'logger'" in done.stderr
