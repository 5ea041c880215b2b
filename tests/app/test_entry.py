"""How entry points start."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from fork_server import forked_python
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from made_data import REPOSITORY, davis_arguments
from omegaconf import OmegaConf

from rvos import CONFIG_DIR
from rvos.__main__ import COMMANDS
from rvos.__main__ import PROGRAMS as RUNNABLE
from rvos.__main__ import main as rvos_main
from rvos.app.arguments import as_typed
from rvos.app.entry import unread
from rvos.errors import InputError
from rvos.stages.run_folder import check_effects

SENTENCES = [
    "the cat walking left",
    "the dog, the one that jumps",
    "the man's hat (the red one)",
    'a = b: "quoted"',
    "'already quoted'",
    "der Hund läuft über die Straße",
    "向左走的猫",
    "costs ${oc.env:HOME} or $5",
    "ends in a backslash \\",
    "costs ${5",
    "x \\${y} z",
    "x \\\\${y}",
    "null",
    "3",
    "[a, b]",
    "{a: b}",
    "",
]


def as_hydra_reads_it(argument):
    value = OverridesParser.create().parse_override(argument).value()
    return OmegaConf.create({"value": value}).value


@pytest.mark.parametrize("sentence", SENTENCES)
def test_sentences_arrive_as_typed(sentence):
    argument = as_typed([f"expression={sentence}"], "predict")[0]
    assert as_hydra_reads_it(argument) == sentence


@given(st.text(st.characters(exclude_categories=["C"]), max_size=20))
def test_any_text_arrives_as_typed(sentence):
    argument = as_typed([f"expression={sentence}"], "predict")[0]
    assert as_hydra_reads_it(argument) == sentence


# A path as it is typed -> what the program gets.
PATHS = {
    "data/José": "data/José",
    "runs/epoch=1-step=12.ckpt": "runs/epoch=1-step=12.ckpt",
    "视频.mp4": "视频.mp4",
    "a, b.mp4": "a, b.mp4",
    "a,b": "a,b",
    "a(1) [b] {c}.mp4": "a(1) [b] {c}.mp4",
    "it's.mp4": "it's.mp4",
    '"half quoted': '"half quoted',
    " spaces ": " spaces ",
    "100%#1.mp4": "100%#1.mp4",
    "2024": "2024",
    "1e3": "1e3",
    "true": "true",
    "~/data": str(Path.home() / "data"),
    "plain/path.json": "plain/path.json",
    r"epoch\=1.ckpt": "epoch=1.ckpt",  # escaped or quoted as Hydra's manual says
    "'epoch=1.ckpt'": "epoch=1.ckpt",
    '"epoch=1.ckpt"': "epoch=1.ckpt",
    "null": None,
}


@pytest.mark.parametrize("key", ["data.root", "ckpt_path", "+hydra.run.dir", "paths.runs"])
@pytest.mark.parametrize("text, expected", PATHS.items())
def test_paths_arrive_as_typed(key, text, expected):
    (argument,) = as_typed([f"{key}={text}"], "train")
    assert as_hydra_reads_it(argument) == expected
    # Other processes of the run get it once more.
    assert as_typed([argument], "train") == [argument]


def test_what_is_a_text_depends_on_the_chosen_groups(tmp_path):
    """refine=given has a path and no window; the masklets are of somebody's own folder."""
    (tmp_path / "masklets").mkdir()
    (tmp_path / "masklets" / "mine.yaml").write_text("_target_: x.Y\ntable: t.json\nsize: 2\n")
    own = [f"--config-dir={tmp_path}", "masklets=mine"]
    typed = ["masklets.table=2024", "masklets.size=2024", "masklets.other=/a,b/x=1.json"]
    assert as_typed([*own, *typed], "eval")[1:-1] == [
        "masklets.table='2024'",
        "masklets.size=2024",
        "masklets.other='/a,b/x=1.json'",  # Hydra cannot read it
    ]
    assert as_typed(typed[:1], "eval") == typed[:1]  # nothing is known of it
    assert as_typed(["refine=given", "refine.path=1e3"], "eval")[1] == "refine.path='1e3'"
    assert as_typed(["refine=none", "refine=gone", "optim.lr=1e3"], "eval")[2] == "optim.lr=1e3"


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_settings_of_ones_own_in_another_encoding_are_named(tmp_path, run_eval, encoding):
    for name, of in (("other", "utf-8"), ("mine", encoding)):
        (tmp_path / "experiment").mkdir(exist_ok=True)
        (tmp_path / "experiment" / f"{name}.yaml").write_text("seed: 1 # caf\xe9\n", encoding=of)
    status, said = run_eval(["--config-dir", str(tmp_path), "experiment=mine"])
    assert status == 1 and said.startswith(f"error: {tmp_path}/experiment/mine.yaml: ")
    assert "Save it as UTF-8" in said


def test_paths_may_be_swept_and_interpolated():
    arguments = ["coarse.path=a.json,b.json", "-m"]
    assert as_typed(arguments, "eval") == arguments
    arguments = ["coarse=files", arguments[0]]
    assert as_typed(arguments, "eval")[1] == "coarse.path='a.json,b.json'"
    (argument,) = as_typed(["output_dir=${oc.env:HOME}/José"], "eval")
    assert as_hydra_reads_it(argument) == f"{Path.home()}/José"


def test_other_arguments_are_left_alone():
    arguments = ["refine.window=5,10", "-m", "--config-dir=José", "expression"]
    assert as_typed(arguments, "eval") == arguments
    for multirun in ([], ["-m"]):
        arguments = ["coarse.sources=[a,b]", "refine.window=5,10", "data.meta=null", "shard=3"]
        assert as_typed([*arguments, *multirun], "eval") == [*arguments, *multirun]


def test_options_may_stand_between_settings():
    """Hydra's parser knows no key=value after an option that has others before it."""
    arguments = ["refine=none", "--config-dir", "a=b", "data.split=valid", "-m", "refine.tau=0.6"]
    expected = ["refine=none", "data.split=valid", "refine.tau=0.6", "--config-dir", "a=b", "-m"]
    assert as_typed(arguments, "eval") == expected


def test_files_of_the_repository_are_found_from_anywhere(tmp_path, monkeypatch):
    for folder in (REPOSITORY, tmp_path):
        monkeypatch.chdir(folder)
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            cfg = compose("predict", ["experiment=shapes", "video=x.mp4", "expression=x"])
        path = Path(cfg.coarse.checkpoint)
        assert path.is_file() and path.is_absolute() == (folder == tmp_path)


@pytest.mark.parametrize(
    "program, argument, told",
    [
        ("eval.py", "optim.lr=é", "optim.lr"),
        ("eval.py", "refine.tau=0.8=0.9", "refine.tau: expected a number .*, got '0.8=0.9'"),
        ("train.py", "resume", "argument 'resume': expected key=value"),
        ("train.py", "x y=1", "argument 'x y=1': expected key=value"),
        ("eval.py", "~refine", "argument '~refine': expected key=value"),
        ("eval.py", "task=mine", "expected data.root/data.split"),  # a label, no program's name
        ("eval.py", "refine.window=5,10", "refine.window=5,10'.*add --multirun"),
        ("predict.py", "masks=png)", r"masks: expected .*, got 'png\)'"),
        ("predict.py", "data.skip_bad=true", "without effect in rvos predict.*data.skip_bad=true"),
        ("predict.py", "score.max_videos=2", "without effect in rvos predict.*max_videos=2"),
        ("-m rvos data verify", "data.split=valid", "without effect in rvos data verify.*split=v"),
        ("-m rvos data verify", "splits=[a", r"\[a"),
    ],
)
def test_an_argument_that_cannot_be_taken_is_named(program, argument, told):
    command = [sys.executable, *program.split(), argument]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert re.search(told, done.stderr, re.DOTALL), done.stderr


@pytest.mark.parametrize(
    "program, others, idle",
    [
        (
            "eval",
            "coarse=mutr model._target_=a.B",
            "model.weights=mine.pth data.clip.num_frames=7 answers.rounds=2",
        ),
        ("eval", "coarse=files", "model=mutr_tiny model.num_queries=3 trainer.max_steps=9"),
        ("eval", "", "data.batch_size=4 data.val_split=valid data.release=v1"),
        ("predict", "coarse=grounded", "data=ref_davis ablation=paper model.backbone=swin_t"),
        ("train", "", "refine=none masklets.weights=x coarse.checkpoint=x score.missing=empty"),
    ],
)
def test_settings_that_nothing_reads_are_refused(program, others, idle):
    """Exactly these: what is read, or stands in a preset, is no mistake."""
    typed = [*others.split(), *idle.split()]
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        cfg = compose(program, [*typed, "output_dir=x"])
    with pytest.raises(InputError, match=f"without effect in rvos {program} ") as error:
        check_effects(program, [*typed, "seed=3", "score.workers=1", "coarse.name=x"], unread(cfg))
    assert str(error.value).split("\n  ")[1:] == idle.split()


@pytest.mark.parametrize("first, refused", [("refine=none", True), ("-m refine=none,vote", False)])
def test_masklets_of_a_sweep_may_be_for_its_other_jobs(first, refused):
    words = ["masklets=flow", "video=gone.mp4", "expression=x"]
    command = [forked_python(), "predict.py", *first.split(), *words, "experiment=shapes"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 1 and "gone.mp4" in done.stderr
    assert ("without effect" in done.stderr) == refused, done.stderr


@pytest.mark.parametrize("program", ["train", "eval", "predict", "synthesize", "verify"])
def test_every_key_of_conf_with_a_path_is_known_as_one(program):
    """Keys whose default is made of paths.*, or is the name of a file."""
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        cfg = compose(program, ["output_dir=x"] if program in ("train", "eval") else [])
    found = dict(_texts(OmegaConf.to_container(cfg), ""))
    paths = {
        key for key, text in found.items() if re.search(r"\$\{paths|\$\{output_dir|\w/\w", text)
    }
    paths -= {"callbacks.best.monitor"}  # val/JF
    assert paths or program == "synthesize"
    typed = as_typed([f"{key}=2024" for key in paths], program)
    assert typed == [f"{key}='2024'" for key in paths]


def _texts(node, prefix):
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _texts(value, f"{prefix}{key}.")
        elif isinstance(value, str):
            yield prefix + key, value


SCRIPT = """
from rvos.app.entry import entry_point


@entry_point("eval")
def main(cfg):
    raise {error}


main()
"""


def test_an_error_of_the_task_is_not_blamed_on_the_run_folder(tmp_path):
    """Only the making of the run folder is reported as such; a bug keeps its traceback."""
    (tmp_path / "file").write_text("")

    def told(error, folder):
        (tmp_path / "task.py").write_text(SCRIPT.format(error=error))
        command = [sys.executable, str(tmp_path / "task.py"), f"output_dir={folder}"]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
        assert done.returncode == 1
        return done.stderr

    refused = 'PermissionError(13, "Permission denied", "/somewhere/frame.jpg")'
    assert told(refused, tmp_path / "out") == "error: /somewhere/frame.jpg: Permission denied\n"
    for error in ("ValueError(7)", "OSError(28, 'No space left')"):
        text = told(error, tmp_path / "out")
        assert "Traceback" in text and error.partition("(")[0] in text and "output_dir:" not in text
    text = told(refused, tmp_path / "file" / "out")
    assert text.startswith("error: output_dir: cannot write to") and "Traceback" not in text


# --------------------------------------------------------------------------------------- help

PROGRAMS = [["train.py"], ["eval.py"], ["predict.py"], ["-m", "rvos"]]
PROGRAMS += [["-m", "rvos", name] for name in RUNNABLE]
PROGRAMS += [["-m", "rvos", name] for name in COMMANDS]
PROGRAMS += [["-m", "rvos", "data", "verify"], ["-m", "rvos", "submission", "pack"]]
SLOW_TO_IMPORT = {"torch", "pytorch_lightning", "transformers", "numba", "scipy", "matplotlib"}


@pytest.mark.parametrize("words", PROGRAMS, ids=" ".join)
def test_help_needs_no_library_that_takes_long_to_import(words):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *words, "--help"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and len(done.stdout) > 100
    imported = set(re.findall(r"\| +([\w.]+)$", done.stderr, re.M))
    assert "rvos" in imported  # it is a list of imports
    assert not imported & SLOW_TO_IMPORT
    if words[0] != "-m":  # these read no settings before they run
        assert "pydantic" not in imported


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_shows_the_choices_and_the_settings_as_they_would_be(flag):
    """With a choice and a value of one's own; a key that is not there is refused."""
    command = [sys.executable, "eval.py", "refine.window=7", "report=none", flag]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    page, settings = done.stdout.split("Settings (key=value):")
    assert page.startswith("Frames + expressions -> refined masks")
    assert "\n  report: html, none\n" in page and "launcher" not in page
    shown = OmegaConf.create(settings.rpartition("\nFlags:")[0])
    assert shown.refine.window == 7 and shown.report.name == "none"

    command[2] = "refine.windw=7"
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("error: ")
    assert "refine.windw" in done.stderr and "Traceback" not in done.stderr


def test_help_of_predict_shows_its_own_settings_first():
    command = [sys.executable, "predict.py", "--help"]
    page = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True).stdout
    keys = re.findall(r"^([a-z_]+): ", page, re.M)
    own = "video expression expressions every max_frames masks fps device"
    assert keys == ["experiment", *own.split()] and "--help-all" in page
    command[2] = "--help-all"
    page = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True).stdout
    assert "\n  masklets: base, files, flow" in page and "\nrefine:\n" in page


@pytest.mark.parametrize(
    "words, meant",
    [
        (
            "predict.py --config-dir {own} refine.windw=3 experiment=shapes",
            "did you mean refine.window?",
        ),
        ("predict.py vidoe=a.mp4", "did you mean video?"),
        ("predict.py zzqqj=3", "--help lists all"),
        ("train.py report=none", "--help lists all"),
        ("eval.py masklet=flow", "did you mean masklets?"),
        ("-m rvos data synthesize num_videos.trian=3", "did you mean num_videos.train?"),
        ("-m rvos data verify splts=valid", "did you mean splits?"),
    ],
)
def test_a_misspelt_key_is_answered_with_the_one_that_was_meant(words, meant, tmp_path):
    command = [sys.executable, *words.format(own=tmp_path).split()]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    key = next(word for word in command if "=" in word).partition("=")[0]
    assert done.returncode == 1 and done.stderr.startswith(f"error: {key}: no such key; {meant}")


def test_a_misspelt_choice_and_command_are_answered_with_those_there_are(capsys):
    command = [sys.executable, "eval.py", "refine=votee"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 1 and "sliding_vote" in done.stderr and "path" not in done.stderr
    assert rvos_main(["doctr"]) == 2
    assert capsys.readouterr().err.startswith("error: no command 'doctr'; did you mean doctor?\n")


def test_conf_names_classes_of_rvos_and_of_lightning_only():
    """What a config may build, as docs/install.md says."""
    texts = [file.read_text() for file in CONFIG_DIR.rglob("*.yaml")]
    targets = {name for text in texts for name in re.findall(r"_target_: *([\w.]+)", text)}
    assert len(targets) > 30
    assert {name.partition(".")[0] for name in targets} == {"rvos", "pytorch_lightning"}


def test_a_number_for_a_key_that_refers_to_a_number_is_a_number():
    """conf/ has `${trainer.log_every_n_steps}` there, which is a text only to look at."""
    typed = ["callbacks.speed.every_n_steps=1", "paths.runs=2024"]
    assert as_typed(typed, "train") == [typed[0], "paths.runs='2024'"]


CORE = """
import sys
class WithoutNetworks:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "pytorch_lightning"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, WithoutNetworks())
from rvos.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    "words",
    [
        [
            "train",
            "experiment=demo",
            *davis_arguments()[1:3],
            "data.train_split=davis_masks",
            "data.val_split=davis_masks",
        ],
        ["eval", *davis_arguments()[1:5], "masklets=sam2"],
        ["checkpoint", "checkpoints/mutr_tiny_demo.pth"],
    ],
    ids=lambda words: words[0],
)
def test_the_core_alone_says_what_networks_need(words, tmp_path):
    """`pip install rvos` has no torch; what needs it is refused at the start, in one line."""
    place = [f"output_dir={tmp_path}"] * (words[0] != "checkpoint")
    command = [sys.executable, "-c", CORE, *words, *place]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert re.search(r"^error: this needs \w+, .* pip install 'rvos\[models\]'$", done.stderr, re.M)
