"""`answers.model=...`: the questions between tracking and refinement, with the stub server."""

import json
import sys
from pathlib import Path
from unittest.mock import ANY

import pytest
import yaml
from asked_run import prepared, truth_of
from stub_model import StubModel, StubServer, chat

import predict
from rvos.ask.oracle import oracle_decisions
from rvos.ask.questions import Asked
from rvos.masks import read_json, write_json


@pytest.fixture
def made(tmp_path, run_eval):
    """(arguments of eval.py, what the stub knows, J&F of the oracle's choice)."""
    tags, arguments = prepared(tmp_path, videos=2, no_target=0.3)
    run = tmp_path / "run"
    status, errors = run_eval([*arguments, f"output_dir={run}"])
    assert status == 0, errors
    write_json(tmp_path / "oracle.json", oracle_decisions(run, Asked.of(run)))
    given = ["refine=given", f"refine.path={tmp_path / 'oracle.json'}"]
    status, errors = run_eval([*arguments, *given, f"output_dir={tmp_path / 'oracle'}"])
    assert status == 0, errors
    return arguments, truth_of(run, tags), read_json(tmp_path / "oracle" / "metrics.json")["J&F"]


def asking(server):
    return ["answers.model=a,b", f"answers.server={server.url}", "answers.width=96"]


def test_an_evaluation_asks_and_scores_what_the_models_chose(made, run_eval, tmp_path, capfd):
    arguments, truth, best = made
    model, folder = StubModel(truth), tmp_path / "answered"
    with StubServer(lambda request, _: (200, chat(model.reply(request)))) as server:
        command = [*arguments, *asking(server), f"output_dir={folder}"]
        assert run_eval(command) == (0, ANY)
        calls = len(server.sent)
        assert run_eval(command) == (0, ANY) and len(server.sent) == calls > 0
    metrics = read_json(folder / "metrics.json")
    assert metrics["J&F"] == best and metrics["refine"]["name"] == "given"
    assert read_json(folder / "asked" / "metrics.json")["refine"]["name"] == "vote"
    settings = yaml.safe_load((folder / "config.yaml").read_text())["config"]
    assert settings["answers"]["model"] == "a,b"
    record = read_json(folder / "asked/ask/answers.conversations.json")
    assert record["jury"]["choice"] == ["a", "b"] and record["prompts"]["version"] == 1


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["answers.rounds=0"], "answers.rounds: expected a whole number >= 1, got 0"),
        (["answers.agree=3"], "agree: expected at most 2, the jurors, got 3"),
        (["refine=none"], "answers.model: expected a rule whose choice stays"),
        (["trainer.devices=2"], "answers.model: expected one process"),
        (["answers.prompts=nothing"], "nothing"),
        (["ablation=grid"], "refine=given"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_sent(run_eval, tmp_path, more, message):
    arguments = prepared(tmp_path, videos=1)[1]
    with StubServer(lambda *_: (200, b"")) as server:
        command = [*arguments, *asking(server), f"output_dir={tmp_path / 'x'}", *more]
        status, errors = run_eval(command)
        assert status == 1 and message in errors and not server.sent
    assert not (tmp_path / "x" / "asked").exists()


def test_a_video_of_ones_own(made, monkeypatch, tmp_path):
    """One sentence, two objects of which the model takes the second."""
    arguments, _, _ = made
    [root] = [a.partition("=")[2] for a in arguments if a.startswith("data.root=")]
    meta = read_json(Path(root) / "valid_u" / "meta_expressions.json")["videos"]
    truth = read_json(Path(root) / "valid_u" / "mask_dict.json")
    name, video = next((n, v) for n, v in meta.items() if len(ids_of(v)) > 1)
    first, second = (truth[i] for i in ids_of(video)[:2])
    for file, tracks in (("coarse", {"0": first}), ("masklets", {"thing": [first, second]})):
        write_json(tmp_path / f"{file}.json", {name: tracks})
    write_json(tmp_path / "nouns.json", {name: {"0": "thing"}})

    def reply(request, _):
        text = json.dumps(request)
        chosen = '{"accepted": [1], "rejected": [0], "uncertain": []}'
        return 200, chat(chosen if "Judge each" in text else '{"present": true}')

    with StubServer(reply) as server:
        monkeypatch.setattr(
            sys,
            "argv",
            [
                *(
                    "predict.py",
                    "experiment=shapes",
                    f"video={root}/valid_u/JPEGImages/{name}",
                    "expression=the thing",
                ),
                *("coarse=files", f"coarse.path={tmp_path / 'coarse.json'}", "masklets=files"),
                *(f"masklets.path={tmp_path / 'masklets.json'}", "masks=rle"),
                *(f"masklets.nouns={tmp_path / 'nouns.json'}", f"output_dir={tmp_path / 'out'}"),
                *(*asking(server), "refine=vote"),
            ],
        )
        arguments = sys.argv
        with monkeypatch.context() as patched:
            made = []  # masks, which may take hours
            patched.setattr("rvos.app.evaluation.Evaluation.make", lambda *_: made.append(1))
            patched.setattr(sys, "argv", [*arguments, "answers.agree=3"])
            with pytest.raises(SystemExit):
                predict.main()
            assert not made and not server.sent
        predict.main()
        assert server.sent
    refined = read_json(tmp_path / "out" / "refined" / f"{name}.json.gz")
    assert refined == {"0": second}
    asked = read_json(tmp_path / "out" / "asked" / "refined" / f"{name}.json.gz")
    assert asked == {"0": first}


def ids_of(video):
    return sorted({str(i) for e in video["expressions"].values() for i in e["anno_id"]})
