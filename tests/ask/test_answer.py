"""`python -m rvos answer` against a stub server that answers from truth."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from asked_run import prepared, truth_of
from commands import command
from stub_model import StubModel, StubServer, chat

from rvos import InputError
from rvos.ask.calls import Caller
from rvos.ask.oracle import oracle_decisions
from rvos.ask.questions import Asked
from rvos.masks import read_json

main = command("answer")


@pytest.fixture
def run(tmp_path, run_eval):
    """(run folder, arguments of eval.py, what the stub knows)."""
    tags, arguments = prepared(tmp_path, videos=2, no_target=0.3)
    status, errors = run_eval([*arguments, f"output_dir={tmp_path / 'run'}"])
    assert status == 0, errors
    return tmp_path / "run", arguments, truth_of(tmp_path / "run", tags)


def answer(run, server, *more):
    return main([str(run), "--server", server.url, "--width", "96", "--frames", "2", *more])


def test_perfect_answers_score_what_the_oracle_scores(run, run_eval, capfd, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    folder, arguments, truth = run
    model = StubModel(truth)
    with StubServer(lambda request, _: (200, chat(model.reply(request), tokens=7))) as server:
        assert answer(folder, server, "--models", "a,b,c") == 0
        said, calls = capfd.readouterr().out, len(server.sent)
        assert server.keys == {"Bearer sk-secret"}
        assert answer(folder, server, "--models", "a,b,c") == 0 and len(server.sent) == calls
    plan, _, _ = said.partition("answers: ")
    assert server.url in plan and f"{calls} calls with {7 * calls} tokens" in plan
    asked = Asked.of(folder)
    assert read_json(folder / "ask/answers.json") == oracle_decisions(folder, asked)
    assert main([str(folder), "--oracle"]) == 0
    metrics = {}
    for name in ("answers", "oracle"):
        path, out = folder / f"ask/{name}.json", folder.parent / name
        given = ["refine=given", f"refine.path={path}", f"output_dir={out}"]
        status, errors = run_eval([*arguments, *given])
        assert status == 0, errors
        metrics[name] = read_json(out / "metrics.json")
    assert metrics["answers"]["J&F"] == metrics["oracle"]["J&F"]
    assert metrics["oracle"]["J&F"] > read_json(folder / "metrics.json")["J&F"]
    for path in folder.rglob("*"):
        assert not path.is_file() or b"sk-secret" not in path.read_bytes()
    page = (folder / "ask/answers.html").read_text()
    assert "absent: " in page and "the oracle&#39;s choice" in page
    mean = f"<td>{100 * metrics['oracle']['J&F']:.2f}</td>"
    assert page.count(mean) == 2  # of the models, of the oracle
    first = page.partition('src="')[2].partition('"')[0]
    assert (folder / "ask" / first).is_file()


def test_where_no_answers_can_be_written_is_said_before_a_call(made_data, run_eval, capfd):
    """A folder, and the page's own name, under which the page would replace the answers."""
    assert run_eval(made_data.write())[0] == 0
    page = made_data.root / "x.html"
    page.write_text("mine")
    with StubServer(lambda *_: (500, b"")) as server:
        for out, said in ((made_data.root, "is a folder"), (page, "is where the page")):
            status = answer(made_data.root / "out", server, "--model", "a", "--out", str(out))
            error = capfd.readouterr().err
            assert status == 1 and error.startswith(f"error: {out}: {said}")
        both = answer(made_data.root / "out", server, "--model", "a", "--oracle")
        assert both == 1 and "--oracle asks no model" in capfd.readouterr().err
        assert not server.sent
    assert page.read_text() == "mine"


def test_server_that_is_busy_fails_and_hangs(run):
    """429, 500, a lost connection's answer that is no JSON, and no answer in time."""
    folder, _, truth = run
    model = StubModel(truth)

    def reply(request, number):
        if number in (0, 3, 4):
            return {0: 429, 3: 500, 4: 503}[number], b'{"error": {"message": "wait"}}'
        if number == 6:
            time.sleep(3)
        if number == 8:
            return 200, b"<html>"
        return 200, chat(model.reply(request))

    with StubServer(reply) as server:
        assert answer(folder, server, "--model", "a", "--timeout", "1", "--parallel", "1") == 0
    assert read_json(folder / "ask/answers.json") == oracle_decisions(folder, Asked.of(folder))


def test_refused_and_limited(run, capfd):
    folder, _, truth = run
    model = StubModel(truth)
    with StubServer(lambda *_: (401, b'{"error": {"message": "no such key"}}')) as server:
        assert answer(folder, server, "--model", "a") == 1
    assert "401" in capfd.readouterr().err and len(server.sent) <= 4
    assert not (folder / "ask/answers.json").exists()
    with StubServer(lambda request, _: (200, chat(model.reply(request), tokens=9))) as server:
        assert answer(folder, server, "--model", "a", "--plan") == 0 and not server.sent
        assert answer(folder, server, "--model", "a", "--max-calls", "3") == 1
        assert "--max-calls 3: reached after 3 calls" in capfd.readouterr().err
        assert len(server.sent) == 3
        assert answer(folder, server, "--model", "a", "--max-tokens", "20") == 1
        assert "--max-tokens 20: reached" in capfd.readouterr().err
        sent = len(server.sent)
        assert answer(folder, server, "--model", "a", "--max-minutes", "1e-6") == 1
        assert "--max-minutes 1e-06: reached after 0 calls" in capfd.readouterr().err
        assert len(server.sent) == sent
        assert answer(folder, server, "--model", "a") == 0
        kept = next((folder / "ask" / "calls").glob("*/*.json"))
        kept.write_text('{"text": "A", "whole": true, "tokens": "9"}')
        assert answer(folder, server, "--model", "a") == 1
        error = capfd.readouterr().err
        assert f"{kept}: " in error and "tokens: " in error and "delete it" in error
    assert len(set(server.sent)) == len(server.sent)  # nothing twice


ANSWERS = {  # status, body: what is said
    (401, b'{"error": {"message": "wrong key sk-1"}}'): r"401 - wrong key \*\*\* \(OPENAI_API_KEY",
    (404, b'{"error": {"message": "no such model"}}'): r"no such model \(is --model a name .*/v1",
    (400, b'{"error": {"message": "maximum context length"}}'): "smaller --frames and --width",
    (200, b"<html>please log in</html>"): "not in OpenAI's protocol: does its URL end in /v1",
    (200, b'{"message": "model not loaded"}'): "not in OpenAI's protocol",
}


@pytest.mark.parametrize("answered", ANSWERS)
def test_what_a_server_refuses_has_its_cause_and_is_not_kept(tmp_path, monkeypatch, answered):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    with StubServer(lambda *_: answered) as server:
        caller = Caller(server.url, tmp_path)
        with pytest.raises(InputError, match=ANSWERS[answered]):
            caller({"model": "a", "messages": []})
    assert not any(tmp_path.iterdir())


def test_an_answer_without_a_message_is_an_empty_reply_in_each_start(tmp_path):
    """A filter's. Only of a server that has answered before, in this start or an earlier one."""
    filtered = b'{"error": {"message": "filtered"}}'
    requests = [{"model": "a", "messages": [], "seed": seed} for seed in range(3)]

    def reply(request, _):
        return 200, filtered if request["seed"] else chat("yes")

    with StubServer(reply) as server:
        first = Caller(server.url, tmp_path)
        said = [first(request) for request in requests[:2]]
        assert [reply.text for reply in said] == ["yes", ""]
        again = Caller(server.url, tmp_path)
        assert [again(request) for request in requests[:2]] == said and again.sent == 0
        assert again(requests[2]).text == ""
    with StubServer(lambda *_: (200, b"<html>")) as other:
        moved = Caller(other.url, tmp_path)
        assert moved(requests[0]) == said[0]
        with pytest.raises(InputError, match="not in OpenAI's protocol"):
            moved({"model": "b", "messages": []})


@pytest.mark.parametrize(
    ("proxy", "said"),
    [("socks5://me:word@host:1", r"httpx\[socks\]"), ("http://me:word@host:x", "Invalid port")],
)
def test_a_proxy_that_no_client_can_use_is_named(tmp_path, monkeypatch, proxy, said):
    monkeypatch.setenv("ALL_PROXY", proxy)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(InputError, match=rf"the proxy \w+://host:. .*{said}") as error:
        Caller("http://127.0.0.1:9/v1", tmp_path)
    assert "word" not in str(error.value)


def test_no_picture_is_sent_without_its_frame(made_data, run_eval, capfd):
    assert run_eval(made_data.write())[0] == 0
    with StubServer(lambda *_: (200, chat("{}"))) as server:
        assert answer(made_data.root / "out", server, "--model", "a") == 1
    assert "a model cannot answer from grey frames" in capfd.readouterr().err and not server.sent


def test_what_cannot_be_read_is_asked_again_and_listed(run, capfd):
    """The choice is never readable: the vote's windows stay. Presence is, at the second attempt."""
    folder, _, truth = run
    model = StubModel(truth)

    def reply(request, _):
        text = model.reply(request)
        if "present" not in text:
            return 200, chat(text, finish="length")
        return 200, chat("Oui." if len(request["messages"]) == 2 else f"Voici : {text} Merci.")

    with StubServer(reply) as server:
        assert answer(folder, server, "--model", "a", "--rounds", "1") == 0
    asked, answers = Asked.of(folder), read_json(folder / "ask/answers.json")
    said = capfd.readouterr().out
    assert "no reply could be read" in said and "it was cut off" in said
    for video in asked.split.videos:
        for e in video.expressions:
            decision = answers[video.name][e.expression_id]
            assert decision["present"] == bool(e.annotation_ids)
            assert decision.get("windows") == (asked.windows(e) if decision["present"] else None)
    told = read_json(folder / "ask/answers.conversations.json")["expressions"]
    counts = {len(e["calls"]) for v in told.values() for es in v.values() for e in es}
    assert counts == {2, 3}


def test_killed_starts_repeat_no_answered_call(run, kills):
    folder, _, truth = run
    model = StubModel(truth, error=0.2)
    calls = folder / "ask/calls"

    with StubServer(lambda r, _: (200, chat(model.reply(r))), delay=0.05) as server:
        line = [
            *(sys.executable, "-m", "rvos", "answer", str(folder), "--server", server.url),
            *("--width", "96", "--frames", "2", "--models", "a,b,c", "--parallel", "2"),
        ]
        answered = []  # (how many calls came, what was kept by then)
        draw = random.Random(5)
        for _ in range(kills):
            before = len(server.sent)
            process = subprocess.Popen(line, stdout=subprocess.DEVNULL)
            more = draw.randint(1, 8)
            while process.poll() is None and len(server.sent) < before + more:
                time.sleep(0.01)
            time.sleep(draw.random() * 0.1)
            process.send_signal(signal.SIGKILL)
            process.wait()
            time.sleep(0.1)  # requests under way arrive
            answered.append((len(server.sent), {path.stem for path in calls.glob("*/*.json")}))
        assert subprocess.run(line, stdout=subprocess.DEVNULL).returncode == 0
        assert {path.stem for path in calls.glob("*/*.json")} == set(map(call_of, server.sent))
        for count, kept in answered:
            later = {call_of(body) for body in server.sent[count:]}
            assert not later & kept
        assert len(server.sent) - len(set(server.sent)) <= 2 * kills  # those under way
        first = (folder / "ask/answers.json").read_bytes()
        fresh = [*line, "--out", str(folder / "ask/other.json")]
        calls.rename(folder / "ask/calls_before")
        assert subprocess.run(fresh, stdout=subprocess.DEVNULL).returncode == 0
    assert (folder / "ask/other.json").read_bytes() == first


def call_of(body):
    """The name under which a call is kept that the server got."""
    return hashlib.sha256(json.dumps(json.loads(body), sort_keys=True).encode()).hexdigest()


@pytest.fixture
def kills():
    """20 with RVOS_FUZZ, as `make fuzz` sets it."""
    return 20 if "RVOS_FUZZ" in os.environ else 2
