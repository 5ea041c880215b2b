"""Programs and servers that print, or send a page, instead of failing."""

import pytest
from stand_in_hub import Hub

from rvos.__main__ import main
from rvos.errors import InputError
from rvos.weights import hub as net
from rvos.weights import local, programs
from rvos.weights.table import WEIGHTS, Weight

# What nltk does behind a proxy: it prints, returns False, and the status is 0.
PRINTS = "python -c \"print('[nltk_data] Error loading model: <urlopen error timed out>')\""
PAGE = b"  <!DOCTYPE html><html><title>Google Drive - Quota exceeded</title></html>"


def model(tmp_path, command):
    """A row whose check is that a file is there."""
    check = (
        f"python -c \"import pathlib, sys; sys.exit(not pathlib.Path('{tmp_path}/x').exists())\""
    )
    more = {"command": command, "check": check, "by_hand": "https://example.org/models"}
    return Weight("parser", "a parser", "masklets.noun.model", "MIT", (), **more)


def test_a_program_that_only_prints_is_an_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(local, "WEIGHTS", {"parser": model(tmp_path, PRINTS)})
    with pytest.raises(SystemExit):
        main(["weights", "get", "parser"])
    told = capsys.readouterr().err
    for part in ("brought nothing", "urlopen error timed out", "HTTPS_PROXY", "example.org/models"):
        assert part in told
    assert main(["weights", "check", "parser"]) == 1
    assert "weights get parser" in " ".join(capsys.readouterr().out.split())


def test_a_program_that_brings_its_model_is_believed(tmp_path, monkeypatch, capsys):
    bring = f"python -c \"open('{tmp_path}/x', 'w')\""
    monkeypatch.setattr(local, "WEIGHTS", {"parser": model(tmp_path, bring)})
    assert main(["weights", "get", "parser"]) == 0
    assert "parser: installed" in capsys.readouterr().out
    assert main(["weights", "check", "parser"]) == 0


@pytest.mark.parametrize("name", ["benepar_en3", "en_core_web_sm"])
def test_each_row_with_a_command_has_a_check_that_can_fail(name, monkeypatch, tmp_path):
    monkeypatch.setenv("NLTK_DATA", str(tmp_path))
    assert not programs.is_installed(WEIGHTS[name])
    rows = [row for row in WEIGHTS.values() if row.command]
    assert all(row.check and row.by_hand for row in rows)


def test_what_the_library_does_behind_a_proxy(monkeypatch, tmp_path):
    """The real benepar.download, with a proxy that answers nothing."""
    pytest.importorskip("benepar")
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NLTK_DATA", str(tmp_path))
    with pytest.raises(InputError, match="brought nothing; it said: .*rror"):
        programs.run_command(WEIGHTS["benepar_en3"])


@pytest.fixture
def server():
    with Hub() as server:
        yield server


def test_a_page_of_a_server_is_no_file(server, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    server.urls["/swin.pth"] = PAGE
    with pytest.raises(InputError, match="a web page came instead of the file"):
        net.fetch_url(f"{server.address}/swin.pth", tmp_path / "swin.pth")
    assert list(tmp_path.iterdir()) == []


def test_a_page_that_gdown_brings_is_no_file(monkeypatch, tmp_path):
    def download(*, id, output, resume):
        with open(output, "wb") as file:
            file.write(PAGE)

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setitem(
        __import__("sys").modules, "gdown", type("gdown", (), {"download": download})
    )
    with pytest.raises(InputError, match="quota.*put the file there as"):
        net.fetch_drive("https://drive.google.com/file/d/abc/view", tmp_path / "mutr.pth")
    assert list(tmp_path.iterdir()) == []


def test_what_gdown_raises_has_its_cause(monkeypatch, tmp_path):
    """Its own errors, and those of requests, which it uses."""
    import requests

    class FileURLRetrievalError(Exception):
        pass

    answer = requests.Response()
    answer.status_code, answer.url = 429, "https://drive.google.com/uc"
    errors = {
        "have had many accesses.*with a browser": FileURLRetrievalError("have had many accesses"),
        "https://drive.google.com asks you to wait": requests.HTTPError("no", response=answer),
        "cannot be reached .Max retries exceeded": requests.ConnectionError("Max retries exceeded"),
        "cannot be written to .*mutr.pth: No space": OSError(28, "No space left on device"),
    }
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    for said, error in errors.items():

        def download(*, id, output, resume, error=error):
            raise error

        gdown = type("gdown", (), {"download": download})
        monkeypatch.setitem(__import__("sys").modules, "gdown", gdown)
        with pytest.raises(InputError, match=said):
            net.fetch_drive("https://drive.google.com/file/d/abc/view", tmp_path / "mutr.pth")
