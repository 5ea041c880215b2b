"""The page's explorer: in Chromium it decides and scores as the rules of rvos/refine do."""

import json
from itertools import product

import numpy as np
import pytest
from chromium import DESKTOP, PHONE, click, resize
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from rvos import CONFIG_DIR, preset
from rvos.masks import encode, read_json
from rvos.refine import Candidates, DetectorScore, Masklets, NoPresence, ShareOfFrames, make_rule
from rvos.report.run import Run
from rvos.score.ablation import COARSE, REFINED, Expression, labelled, score_rules
from rvos.score.evaluate import evaluate_video
from rvos.score.explorer import UNIT, Explorer, VideoExplorer
from rvos.score.results import Results
from rvos.score.slices import answers

browser = pytest.mark.browser
RULES = ("vote", "whole_video", "sliding_vote", "instance_vote")
WINDOWS, TAUS = (1, 3, 6, 12), (0.2, 0.5, 0.8)


def rule_of(name, window, tau):
    return make_rule(name, tau=tau, **({} if name == "whole_video" else {"window": window}))


def twenty(windows, taus, seed=0):
    """20 settings of the sliders, every rule among them."""
    every = [s for s in product(RULES, windows, taus)]
    chosen = np.random.default_rng(seed).permutation(len(every))[:20]
    settings = [every[i] for i in chosen]
    assert {rule for rule, _, _ in settings} == set(RULES)
    return settings


# --------------------------------------------------------------------- the logic by itself


def made_video(count=23, size=(30, 40), seed=3):
    """Three expressions, four masklets that overlap; the coarse masks flicker between them.

    The last expression has no target, and the second no coarse mask at all.
    """
    rng = np.random.default_rng(seed)

    def box(share):
        pixels = np.zeros(size, bool)
        if rng.random() < share:
            y, x = rng.integers(0, 15, 2)
            pixels[y : y + rng.integers(5, 15), x : x + rng.integers(5, 25)] = True
        return pixels

    tracks = [[box(0.9) for _ in range(count)] for _ in range(4)]
    masklets = Masklets([[encode(p) if p.any() else None for p in track] for track in tracks])
    expressions = []
    for key in ("a", "b", "c"):
        coarse = []
        for t in range(count):
            parts = [track[t] for track in tracks if rng.random() < 0.5]
            pixels = np.any([*parts, np.zeros(size, bool)], 0) & (rng.random(size) < 0.9)
            coarse.append(encode(pixels) if pixels.any() and key != "b" else None)
        truth = [None if key == "c" else masklets.tracks[0][t] for t in range(count)]
        scores = {"detector_score": {"a": 0.6, "b": 0.7, "c": 0.2}[key]}
        expressions.append(Expression(key, "box", truth, Candidates(coarse, masklets, scores)))
    return expressions


def explored(expressions, explorer, rules):
    """(content of the explorer's file, what Python scores for the rules)."""
    video = VideoExplorer(explorer, expressions)
    scored = score_rules(expressions, rules, video.look)
    return json.loads(json.dumps(video.content({"a": 1, "b": 2, "c": 0}))), scored


@pytest.fixture
def scripts(driver):
    """A page with nothing but the modules of the logic."""
    driver.get("data:text/html,<title>logic</title>")
    folder = CONFIG_DIR.parent / "rvos" / "report" / "templates"
    for name in ("dom", "timeline", "vote"):
        driver.execute_script(
            "const s = document.createElement('script'); s.textContent = arguments[0];"
            "document.head.append(s)",
            (folder / f"{name}.js").read_text(),
        )
    return driver


DECIDE = """
const [content, settings] = arguments;
const expressions = Object.values(content.expressions);
expressions.forEach(Vote.prepare);
return settings.map(([rule, window, tau]) => {
  const results = expressions.map((e) => {
    const decision = Vote.decide(e, rule, window, content.taus.indexOf(tau));
    const result = Vote.score(e, decision, content.presence);
    return { ...result, ...Vote.spelled(e, decision, result.present) };
  });
  return { results, totals: Vote.totals(expressions, results, content.unit) };
});
"""


@browser
@pytest.mark.parametrize(
    "presence",
    [None, ShareOfFrames(threshold=0.5), DetectorScore(threshold=0.5)],
    ids=["alone", "share_of_frames", "detector_score"],
)
def test_it_decides_and_scores_as_python_does(scripts, presence):
    """20 settings of a video with ties, empty frames, and an expression without coarse masks."""
    settings = twenty((1, 4, 5, 10, 40), (0.0, 0.3, 0.5, 0.85))
    on = (presence or NoPresence()).on
    rules = labelled(
        make_rule("none"), {f"{i}": on(rule_of(*setting)) for i, setting in enumerate(settings)}
    )
    explorer = Explorer((1, 4, 5, 10, 40), (0.0, 0.3, 0.5, 0.85), presence)
    content, scored = explored(made_video(), explorer, rules)
    found = scripts.execute_script(DECIDE, content, settings)
    absent = 0
    for i, setting in enumerate(found):
        for row, result in zip(scored, setting["results"], strict=True):
            expected = row[f"{i}"]
            refinement = expected.refinement
            assert result["combinations"] == [list(c) for c in refinement.combinations]
            assert result["windows"] == [
                [w.start, w.stop, list(w.selected), w.kept_coarse] for w in refinement.windows
            ]
            assert np.array(result["J"]) / UNIT == pytest.approx(expected.J, abs=1e-5)
            assert np.array(result["F"]) / UNIT == pytest.approx(expected.F, abs=1e-5)
            assert result["kept"] == refinement.frames_kept_coarse
            assert result["silent"] == (not any(refinement.track))
            absent += not result["present"]
        means = [np.mean([np.mean(getattr(r[f"{i}"], s)) for r in scored]) for s in "JF"]
        assert [setting["totals"][s] for s in "JF"] == pytest.approx(means, abs=1e-5)
        tracks = [r[f"{i}"].refinement.track for r in scored]
        assert setting["totals"]["nAcc"] == (not any(tracks[2]))
        assert setting["totals"]["tAcc"] == np.mean([any(t) for t in tracks[:2]])
        three = (np.mean(means), setting["totals"]["nAcc"], setting["totals"]["tAcc"])
        assert setting["totals"]["final"]["all"] == pytest.approx(np.mean(three), abs=1e-5)
    assert bool(absent) == (presence is not None)


@browser
def test_what_is_not_in_the_grid_has_no_score(scripts):
    """C_t is {0}, {0}, {0}, {1}: with 4 frames every rule selects {0}, with 1 frame {1} at the end.

    (The sliding window of the last frame has frames 2 and 3: a tie, which {0} wins.)
    """

    def block(x):
        pixels = np.zeros((4, 8), bool)
        pixels[:, x : x + 4] = True
        return encode(pixels)

    left, right = block(0), block(4)
    candidates = Candidates([left, left, left, right], Masklets([[left] * 4, [right] * 4]))
    expressions = [Expression("a", "block", [left] * 4, candidates)]
    video = VideoExplorer(Explorer((4,), (0.5,), None), expressions)
    score_rules(expressions, labelled(make_rule("none")), video.look)
    content = json.loads(json.dumps(video.content({"a": 1})))
    known, unknown = scripts.execute_script(DECIDE, content, [["vote", 4, 0.5], ["vote", 1, 0.5]])
    assert known["results"][0]["J"] == [UNIT] * 4 and known["totals"]["JF"] == 1
    assert unknown["results"][0]["windows"][2:] == [[2, 3, [0], False], [3, 4, [1], False]]
    assert unknown["results"][0]["J"] == [UNIT, UNIT, UNIT, None]
    assert unknown["totals"] == {"missing": 1, "kept": 0}


def test_thresholds_are_met_as_python_compares_them():
    """f = 0.5 exactly is not above 0.5; the rank counts the thresholds below f."""
    pixels = np.zeros((4, 8), bool)
    pixels[:, :4] = True
    whole = encode(np.ones((4, 8), bool))
    expressions = [
        Expression("a", "x", [None], Candidates([encode(pixels)], Masklets([[whole], [None]])))
    ]
    content = VideoExplorer(Explorer((1,), (0.0, 0.49, 0.5, 0.8), None), expressions).content(
        {"a": 0}
    )
    assert content["expressions"]["a"]["ranks"] == [[2], [0]]


def test_the_grid_is_that_of_the_settings():
    own = {"window": 7, "tau": 0.8}
    none, grid = preset("ablation", "none"), {"windows": [5, 1], "taus": [0.8, 0.2]}
    assert Explorer.of(None, none, own, NoPresence()) is None
    assert Explorer.of(False, grid, own, NoPresence()) is None
    found = Explorer.of(None, grid, own, NoPresence())
    assert (found.windows, found.taus, found.presence) == ((1, 5, 7), (0.2, 0.8), None)
    presence = ShareOfFrames(threshold=0.1)
    asked = Explorer.of(True, none, {"window": None, "tau": 0.85}, presence)
    whole = preset("ablation", "grid")
    assert asked.windows == tuple(whole["windows"])
    assert asked.taus == (*whole["taus"][:8], 0.85, 0.9) and asked.presence == presence

    class Other(ShareOfFrames):  # somebody's own rule, which the browser cannot know
        name = "other"

    assert Explorer.of(True, grid, own, Other(threshold=0.5)) is None


# -------------------------------------------------------------------------------- the page


@pytest.fixture(scope="module")
def grid_run(run_tiny, tmp_path_factory):
    grid = [f"ablation.windows={list(WINDOWS)}", f"ablation.taus={list(TAUS)}", "ablation=grid"]
    folder = tmp_path_factory.mktemp("grid") / "run"
    return run_tiny(folder, "refine.window=6", "refine.tau=0.5", *grid)


@pytest.fixture
def page(driver, grid_run):
    resize(driver, DESKTOP)
    driver.get((grid_run / "report" / "index.html").as_uri())
    WebDriverWait(driver, 10).until(
        lambda d: d.find_element(By.CSS_SELECTOR, "#explorer canvas").is_displayed()
    )
    yield driver
    assert [entry["message"] for entry in driver.get_log("browser")] == []


def part(page, name):
    return page.find_element(By.CSS_SELECTOR, f"#explorer [data-part={name}]")


def move(page, rule, window, k):
    """Move the controls as a hand does: the events that the browser sends."""
    script = """
    for (const [name, value, event] of arguments[0]) {
      const control = document.querySelector(`#explorer [data-part=${name}]`);
      control.value = value;
      control.dispatchEvent(new Event(event, { bubbles: true }));
    }"""
    values = [("rule", rule, "change"), ("window", window, "input"), ("tau", k, "input")]
    page.execute_script(script, values)


def totals(page):
    cells = part(page, "totals").find_elements(By.TAG_NAME, "dd")
    shown = [(c.get_attribute("data-score"), c.get_attribute("data-value")) for c in cells]
    return {name: float(value) for name, value in shown if value}


@browser
def test_20_settings_are_those_of_eval(page, grid_run, tiny, tmp_path):
    """Decisions as in decisions/, scores as in metrics.json, of runs with these settings."""
    order = [
        (row.get_attribute("data-video"), row.get_attribute("data-id"))
        for row in page.find_elements(By.CSS_SELECTOR, "tr.row")
    ]
    for i, (rule, window, tau) in enumerate(twenty(WINDOWS, TAUS)):
        rules = {COARSE: make_rule("none"), REFINED: rule_of(rule, window, tau)}
        results, folder = Results(), tmp_path / str(i)
        for video in tiny.videos:
            results.add(evaluate_video(video, rules, {}, folder))
        move(page, rule, window, TAUS.index(tau))
        shown = totals(page)
        expected, said = results.summary(REFINED), answers(results.expressions, REFINED)
        assert shown["J&F"] == pytest.approx(expected.JF, abs=1e-4)
        assert shown["J"] == pytest.approx(expected.J, abs=1e-4)
        assert shown["F"] == pytest.approx(expected.F, abs=1e-4)
        assert shown["Final (all)"] == pytest.approx(said["Final"]["all"], abs=1e-4)
        assert shown["Final (target)"] == pytest.approx(said["Final"]["target"], abs=1e-4)
        decided = page.execute_script("return explorer.then(({ decisions }) => decisions())")
        for (video, key), found in zip(order, decided, strict=True):
            decision = read_json(folder / "decisions" / f"{video}.json")[key]
            assert found["combinations"] == decision["combinations"]
            assert found["windows"] == [
                [w["start"], w["stop"], w["selected"], w["kept_coarse"]]
                for w in decision["windows"]
            ]


@browser
def test_the_map_is_the_ablation_and_sets_the_sliders(page, grid_run):
    cells = page.find_elements(By.CSS_SELECTOR, "#explorer .heat td button")
    WebDriverWait(page, 10).until(lambda _: all(c.text not in ("…", "") for c in cells))
    rows = Run.read(grid_run).metrics.cells
    assert [c.text for c in cells] == [f"{100 * row.summary.JF:.1f}" for row in rows]
    click(page, cells[-1])
    assert part(page, "window-value").text == "12 frames"
    assert part(page, "tau-value").text == "0.8"
    assert cells[-1].get_attribute("aria-pressed") == "true"
    assert totals(page)["J&F"] == pytest.approx(rows[-1].summary.JF, abs=1e-4)
    address = page.execute_script("return location.hash")
    assert address == "#explore=vote,12,0.8"
    Select(part(page, "rule")).select_by_value("whole_video")  # one value per threshold
    column = lambda: [c.text for c in cells[:: len(TAUS)]]  # noqa: E731
    WebDriverWait(page, 10).until(lambda _: len(set(column())) == 1)
    assert part(page, "window").get_attribute("disabled")


@browser
def test_keys_move_the_sliders_and_an_address_is_a_setting(page, grid_run):
    slider = part(page, "window")
    assert part(page, "window-value").text == "6 frames"
    slider.send_keys(Keys.ARROW_RIGHT)
    assert part(page, "window-value").text == "7 frames"
    part(page, "tau").send_keys(Keys.ARROW_RIGHT)
    assert part(page, "tau-value").text == "0.8"
    page.get("about:blank")
    page.get((grid_run / "report" / "index.html").as_uri() + "#explore=sliding_vote,3,0.2,2")
    WebDriverWait(page, 10).until(lambda d: part(d, "timeline").is_displayed())
    assert part(page, "rule").get_attribute("value") == "sliding_vote"
    assert part(page, "window-value").text == "3 frames"
    assert part(page, "one").get_attribute("value") == "2"
    assert not part(page, "all").is_displayed()


@browser
def test_one_expression_from_its_row_and_back(page):
    row = page.find_elements(By.CSS_SELECTOR, "tr.row")[0]
    click(page, row)
    under = page.find_element(By.CSS_SELECTOR, "tr.opened")
    click(page, under.find_element(By.XPATH, ".//button[contains(., 'What if')]"))
    timeline = part(page, "timeline")
    WebDriverWait(page, 10).until(lambda _: timeline.is_displayed())
    assert timeline.find_elements(By.CSS_SELECTOR, ".selected")
    assert totals(page)["J&F"] == pytest.approx(float(row.get_attribute("data-refined")), abs=1e-4)
    before = timeline.get_attribute("innerHTML")
    move(page, "vote", 1, 0)
    assert timeline.get_attribute("innerHTML") != before
    click(page, part(page, "reset"))
    assert part(page, "one").get_attribute("value") == "-1" and part(page, "all").is_displayed()


@browser
def test_a_phone_shows_it_without_sideways_scrolling(page):
    resize(page, PHONE)
    assert page.execute_script("return document.documentElement.scrollWidth") <= PHONE[0]


def test_a_rule_that_the_browser_lacks_is_not_mistaken_for_the_vote(run_tiny, tmp_path):
    """The heat map is of the run's rule and stays; the section says whose numbers it has."""
    given = ["refine=weighted_vote", "refine.window=6", "refine.tau=0.5"]
    cells = ["ablation=grid", "ablation.windows=[1,6]", "ablation.taus=[0.5,0.8]"]
    page = (run_tiny(tmp_path / "run", *given, *cells) / "report/index.html").read_text()
    section = page[page.index('<section id="explorer"') :]
    assert "cannot decide by weighted vote, the rule of this run" in section
    assert "This run’s window and threshold</button>" in section
    assert '<section id="ablation">' in page and "J&amp;F of weighted vote by window" in page


def test_without_a_grid_there_is_no_explorer(tiny, make_page):
    assert not (tiny.other / "explorer").exists()
    assert 'id="explorer"' not in (tiny.other / "report" / "index.html").read_text()
    page = make_page(explorer=False, strips=0).write(tiny.run).read_text()
    assert 'id="explorer"' not in page
