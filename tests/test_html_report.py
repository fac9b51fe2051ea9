"""The page for a browser: it says what the files say, runs nothing that they say, and a real browser finds nothing wrong with it."""

import itertools
import json
import math
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from PIL import Image

from pipeline.commands import report
from pipeline.params import load_params
from pipeline.runtime import paths
from pipeline.runtime.errors import InputError
from pipeline.runtime.guard import stage
from tests import browser
from tests.test_report import write_weights

SCRIPT, BREAKOUT = "<script>hacked = 1</script>", "\"><img src=x onerror='hacked = 1'>"
CLASSES = ("<b>zero</b>", SCRIPT, BREAKOUT)
HISTORY = "epoch,learning_rate,loss,val_loss,top1_accuracy,val_top1_accuracy\n1,0.1,2.5,2.25,0.5,0.25\n2,0.05,1.5,1.75,0.75,0.5\n"
ACCURACIES = {1: 0.75, 2: 0.5, 5: 0.625}  # by seed
needs_chromium = pytest.mark.skipif(browser.CHROMIUM is None, reason="needs Chromium (Debian: apt install chromium)")


@pytest.fixture(autouse=True)
def project(project):
    """The smallest project, with results of a classifier of images, of signals with three seeds, and of a detector; a claim; a report on data."""
    project.edit("  signals:\n    <<: *experiment\n", "  signals:\n    <<: *experiment\n    seeds: [1, 2, 5]\n")
    shutil.copy(Path(__file__).parents[1] / "dvc.yaml", paths.root())
    numbers = {"top1_accuracy": 0.625, "top5_accuracy": 1.0, "top1_error": 0.375, "top5_error": 0.0}
    write_result("crops", numbers | {"top1_accuracy": 0.875, "top1_error": 0.125})
    each = [{"seed": seed, **numbers, "top1_accuracy": value} for seed, value in ACCURACIES.items()]
    deviations = dict.fromkeys(numbers, 0.0) | {"top1_accuracy": 0.125}
    write_result("signals", numbers, standard_deviation=[deviations], seeds=each)
    write_result("boxes", {"map_voc07": 0.5, "map_voc10": 0.625, "map_coco": None}, boxes=True)
    for name in ("crops", "signals", "boxes"):
        write_weights(paths.model_file(name))
    for seed in (2, 5):
        folder = paths.model_folder("signals") / f"seed-{seed}"
        folder.mkdir()
        (folder / "history.csv").write_text(HISTORY)
    write_claim()
    write_dataset_report()
    return project


def write_result(name: str, numbers: dict, *, boxes: bool = False, **more) -> None:
    """A result as the stages leave it, without seals."""
    per_class = [
        {"class": label, next(iter(numbers)): 0.25 * place, "examples": 4} for place, label in enumerate(CLASSES)
    ]
    content = {
        **numbers,
        "examples": 12,
        "protocol": [f"rules & {SCRIPT}"],
        "conditions": ["one view"],
        "per_class": per_class,
    }
    folder = paths.results(name)
    for part in ("confusion", "per_class", "precision_recall"):
        (folder / "plots" / part).mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps({**content, **more}))
    (folder / "history.csv").write_text(HISTORY)
    rows = [(actual, predicted) for actual in CLASSES for predicted in (actual, actual, CLASSES[1])]
    write_table(folder / "plots" / "confusion" / "confusion.csv", ("actual", "predicted"), () if boxes else rows)
    scores = [(row["class"], 0.25 * place) for place, row in enumerate(per_class)]
    write_table(folder / "plots" / "per_class" / "per_class.csv", ("class", "score"), scores)
    curve = [(step / 4, 1 - step / 8, *[1 - step / 4] * 3) for step in range(5)] if boxes else ()
    columns = ("recall", "precision", *(CLASSES if boxes else ()))
    write_table(folder / "plots" / "precision_recall" / "precision_recall.csv", columns, curve)
    for figure in ("predictions", "best", "worst", "training_curves", "per_class"):
        draw(folder / "figures" / f"{figure}.png")


def write_table(file: Path, columns: tuple, rows: list | tuple) -> None:
    """A CSV file with quoted texts."""
    quoted = [",".join('"' + str(cell).replace('"', '""') + '"' for cell in row) for row in (columns, *rows)]
    file.write_text("\n".join(quoted) + "\n")


def draw(file: Path) -> None:
    """A wide image."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (900, 300), "teal").save(file)


def write_claim() -> None:
    """A claim that does not hold, of an entry of another params file."""
    content = {
        "claim": f"More is {SCRIPT}.",
        "published": {"error": 0.25},
        "measured": {"error": 0.5},
        "spread": {"error": 0.125},
        "holds": False,
        "paragraph": "It was half.",
    }
    draw(paths.claim_figure("more"))
    paths.claim_numbers("more").write_text(json.dumps(content))


def write_dataset_report() -> None:
    """A report on data with a file of a hostile name that could not be read."""
    split = {"examples": 12, "per_class": dict.fromkeys(CLASSES, 4), "sizes": {}}
    content = {
        "dataset": "crops",
        "task": "classification",
        "splits": {"train": split, "test": split},
        "dropped": {"boxes without area": 2},
        "skipped": [{"split": "train", "reason": f"a{BREAKOUT}.jpg from https://me:secret@host/: no image\u202e"}],
        "duplicates": {"within": {"train": 1, "test": 0}, "across": 3, "pairs": []},
    }
    draw(paths.dataset_report("crops") / "report.png")
    (paths.dataset_report("crops") / "report.json").write_text(json.dumps(content))


def write() -> Path:
    """Write the page."""
    report.run(html=True)
    return paths.html_report()


class Elements(HTMLParser):
    """Tags with their attributes, in order."""

    def __init__(self, text: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Page]:
    """A tab of a browser that all tests share."""
    with browser.chromium(tmp_path_factory.mktemp("chromium")) as page:
        yield page


def show_all(page: browser.Page) -> None:
    """Have the page draw every diagram and load every image, as a reader does who scrolls through it; and open what is folded."""
    page.run("document.querySelectorAll('details').forEach((entry) => { entry.open = true; })")
    page.run("[...document.images].forEach((image) => { image.loading = 'eager'; })")
    for place in range(page.run("document.querySelectorAll('[data-chart]').length")):
        chart = f"document.querySelectorAll('[data-chart]')[{place}]"
        page.run(f"{chart}.scrollIntoView({{behavior: 'instant'}})")
        page.wait(f"{chart}.querySelectorAll('svg.main-svg').length > 0")
    page.wait("[...document.images].every((image) => image.complete)")


@needs_chromium
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
def test_a_browser_has_nothing_to_complain_of(page, width, dark):
    """No error, no image missing, nothing asked of the network, no scrolling sideways; and axe, which knows WCAG, finds no violation."""
    file = write()
    page.open(file.as_uri(), width=width, dark=dark)
    show_all(page)
    assert page.complaints == []
    assert [address for address in page.requests if not address.startswith(("file://", "data:"))] == []
    assert page.run("[...document.images].filter((image) => !image.naturalWidth).map((image) => image.src)") == []
    assert page.run("document.images.length") == 3 * 3 + 1 + 1
    # Curves of 3 columns for each of three experiments and the comparison; bars for three; a matrix for two; precision for one.
    assert page.run("document.querySelectorAll('.js-plotly-plot').length") == 3 * 4 + 3 + 2 + 1
    assert page.run("document.documentElement.scrollWidth") <= width
    too_wide = "[...document.querySelectorAll('.plot')].filter((plot) => plot.querySelector('svg').clientWidth > plot.clientWidth + 1)"
    assert page.run(f"{too_wide}.length") == 0
    page.run(resources.files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8") + ";0")
    found = page.run(
        "axe.run().then((found) => found.violations.map((one) => [one.id, one.nodes.map((node) => node.html)]))"
    )
    assert found == []


@needs_chromium
def test_a_moved_folder_of_results_is_whole(page, tmp_path):
    """Zipped and unpacked elsewhere, under a name with blanks, the page has its images."""
    write()
    shutil.make_archive(str(tmp_path / "sent"), "zip", paths.root() / "results")
    moved = tmp_path / "some #where %20 else"
    shutil.unpack_archive(tmp_path / "sent.zip", moved)
    shutil.rmtree(paths.root() / "results")
    page.open((moved / "report.html").as_uri(), width=1280)
    show_all(page)
    assert page.complaints == []
    assert page.run("[...document.images].every((image) => image.naturalWidth === 900)")


@needs_chromium
def test_names_of_classes_are_text(page):
    """A class called as a script is, and one that leaves its attribute, are read, drawn and compared, and do nothing."""
    page.open(write().as_uri(), width=1280)
    show_all(page)
    assert page.run("typeof hacked") == "undefined"
    assert page.run("document.scripts.length") == 3
    heads = page.run("[...document.querySelectorAll('th[scope=row]')].map((head) => head.textContent)")
    assert set(CLASSES) <= set(heads)
    drawn = page.run(
        "[...document.querySelectorAll('.per_class text, .confusion text')].map((text) => text.textContent)"
    )
    assert set(CLASSES) <= set(drawn)


def test_the_pages_text_holds_no_tag_password_or_hidden_character_of_others():
    """Without a browser: three scripts, no image but those of figures, no handler; and the policy names each script that runs by its digest."""
    text = write().read_text(encoding="utf-8")
    elements = Elements(text).found
    assert [attributes.get("type") for tag, attributes in elements if tag == "script"] == [
        "application/json",
        None,
        None,
    ]
    assert not [attributes for _, attributes in elements if any(name.startswith("on") for name in attributes)]
    assert all(attributes["src"].endswith(".png") for tag, attributes in elements if tag == "img")
    assert "secret" not in text
    assert "\u202e" not in text
    assert "&lt;script&gt;hacked = 1" in text
    (policy,) = [attributes["content"] for tag, attributes in elements if attributes.get("http-equiv")]
    assert len(re.findall("'sha256-[^']+'", policy)) == 2
    assert "default-src 'none'" in policy


def test_every_link_leads_somewhere():
    """To a place of the page, or to a file below results/ by a relative path; every image says what it shows, and headings skip no level."""
    file = write()
    elements = Elements(file.read_text(encoding="utf-8")).found
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [attributes.get("href") or attributes.get("src") for tag, attributes in elements if tag in ("a", "img")]
    assert len(links) > 30
    for link in links:
        parts = urlsplit(link)
        assert (parts.scheme, parts.netloc) == ("", ""), link
        assert parts.fragment in ids if link.startswith("#") else (file.parent / unquote(parts.path)).is_file(), link
    assert all(attributes["alt"] for tag, attributes in elements if tag == "img")
    levels = [int(tag[1]) for tag, _ in elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


@needs_chromium
def test_two_results_side_by_side(page):
    """What differs is what params.yaml says differs, what moved is the difference of the numbers, and the address leads there again."""
    file = write()
    page.open(f"{file.as_uri()}#compare=crops,boxes", width=1280)
    rows = "[...document.querySelectorAll('#compared table')].map((table) => [...table.rows].map((row) => [...row.cells].map((cell) => cell.textContent)))"
    changed, moved = page.run(rows)
    assert changed[0] == ["setting", "crops", "boxes"]
    names = {row[0] for row in changed[1:]}
    assert {"architecture", "dataset", "dataset.task", "postprocess.nms_iou"} <= names
    assert not names & {"seed", "train.epochs", "source.kind"}
    assert ["top1 accuracy", "0.875", "–", ""] in moved
    page.run("first.value = 'crops'; second.value = 'signals'; second.dispatchEvent(new Event('change'))")
    *_, per_class = page.run(rows)
    assert per_class == [
        ["class", "crops", "signals, mean of 3 seeds", "difference"],
        *([label, score, score, "±0.000"] for label, score in zip(CLASSES, ("0.000", "0.250", "0.500"), strict=True)),
    ]
    assert (
        page.run("document.querySelector('#compared details:last-of-type summary').textContent")
        == "Per class: top1 accuracy"
    )
    page.run("first.value = 'crops'; second.value = 'signals@2'; second.dispatchEvent(new Event('change'))")
    assert [row for row in page.run(rows)[0] if row[0].startswith("seed")] == [["seed", "1", "2"]]
    page.run("first.value = 'signals@1'; second.value = 'signals@2'; second.dispatchEvent(new Event('change'))")
    changed, moved = page.run(rows)
    assert changed == [["setting", "signals, seed 1", "signals, seed 2"], ["seed", "1", "2"]]
    assert ["top1 accuracy", "0.750", "0.500", "−0.250"] in moved
    assert page.run("location.hash") == "#compare=signals@1,signals@2"
    assert page.run("document.querySelectorAll('#compared .js-plotly-plot').length") == 3
    assert page.complaints == []


def test_the_report_leads_to_the_tour_where_there_is_one():
    """The pages of docs/tour are written beside it; without them there is no link."""
    leads = ("a", {"href": "tour.html"})
    assert leads not in Elements(write().read_text(encoding="utf-8")).found
    shutil.copytree(Path(__file__).parents[1] / "docs" / "tour", paths.tour())
    found = Elements(write().read_text(encoding="utf-8")).found
    assert found.count(leads) == 2
    back = Elements(paths.html_tour().read_text(encoding="utf-8")).found
    assert ("a", {"href": "report.html"}) in back


def test_several_seeds_are_a_mean_a_deviation_and_each():
    """With the sample's standard deviation, and a row for each seed."""
    text = write().read_text(encoding="utf-8")
    mean, deviation = statistics.mean(ACCURACIES.values()), statistics.stdev(ACCURACIES.values())
    decimals = 1 - math.floor(math.log10(deviation))
    assert f"<dd>{mean:.{decimals}f} ± {deviation:.{decimals}f}</dd>" in text
    for seed, value in ACCURACIES.items():
        assert re.search(rf'<th scope="row">signals, seed {seed}</th><td class="number">{value:.3f}</td>', text)
    data = json.loads(re.search(r'id="data">(.*?)</script>', text)[1])
    runs = {run["id"]: run for run in data["runs"]}
    assert list(runs) == ["crops", "signals", "signals@1", "signals@2", "signals@5", "boxes"]
    assert all(runs[f"signals@{seed}"]["curves"]["val_loss"] == [2.25, 1.75] for seed in ACCURACIES)
    assert data["charts"]["signals/curves"] == {"runs": ["signals@1", "signals@2", "signals@5"]}


def test_the_diagrams_have_the_numbers_of_the_files():
    """The confusion matrix counted by hand, the bars and the curves as the tables have them, a null where nothing is defined."""
    text = write().read_text(encoding="utf-8")
    charts = json.loads(re.search(r'id="data">(.*?)</script>', text)[1])["charts"]
    # Each class is predicted right twice and once as the second one, which is therefore right three times.
    assert charts["crops/confusion"] == {"classes": list(CLASSES), "counts": [[2, 1, 0], [0, 3, 0], [0, 1, 2]]}
    assert charts["crops/per_class"]["scores"] == [0.0, 0.25, 0.5]
    assert charts["boxes/precision_recall"]["recall"] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert "boxes/confusion" not in charts
    assert "<dt>map coco</dt><dd>undefined</dd>" in text


def test_equal_results_are_equal_bytes():
    """Whatever the order in which sets and folders are read."""
    first = write().read_bytes()
    assert write().read_bytes() == first


def test_what_is_not_there_is_left_out():
    """Numbers alone, as in git, are a page too; an experiment without any says how to get them."""
    for name in ("crops", "signals", "boxes"):
        for path in (paths.figures(name), paths.plots(name), paths.model_folder(name)):
            shutil.rmtree(path)
        paths.history(name).unlink()
    shutil.rmtree(paths.dataset_report("crops").parent)
    shutil.rmtree(paths.claim("more"))
    text = write().read_text(encoding="utf-8")
    assert "<dd>0.875</dd>" in text
    assert "<code>dvc repro evaluate@masks</code>" in text
    assert not [tag for tag, _ in Elements(text).found if tag == "img"]


def test_a_clone_without_dvcs_files_has_the_page_of_what_git_holds():
    """Numbers and small figures: the Markdown that git holds is kept, with an error, and the page is written."""
    write()
    for name in ("crops", "signals", "boxes"):
        shutil.rmtree(paths.figures(name))
        shutil.rmtree(paths.model_folder(name))
    paths.html_report().unlink()
    with pytest.raises(InputError, match="metrics without the model and the figures of crops, signals, boxes"):
        write()
    images = [attributes["src"] for tag, attributes in Elements(paths.html_report().read_text()).found if tag == "img"]
    assert "small_figures/crops/worst.png" in images
    assert all((paths.html_report().parent / image).is_file() for image in images)


@pytest.fixture
def _sealed() -> None:
    """The detector's plots are of a stage that sealed them."""
    outputs = [paths.metrics("boxes"), paths.plots("boxes"), paths.figures("boxes")]
    kept = [paths.root() / f"kept-{output.name}" for output in outputs]
    for output, copy in zip(outputs, kept, strict=True):
        output.rename(copy)
    with stage("evaluate", "boxes", inputs=[], outputs=outputs, params=load_params()) as partials:
        for copy, partial in zip(kept, partials, strict=True):
            if partial.is_dir():
                partial.rmdir()
            copy.rename(partial)


@pytest.mark.usefixtures("_sealed")
def test_an_outdated_result_is_said_and_keeps_its_settings(project):
    """The page shows what the result was made with, not what params.yaml says since."""
    assert '<span class="badge outdated">' not in write().read_text(encoding="utf-8")
    project.edit("nms_iou: 0.5", "nms_iou: 0.25")
    text = write().read_text(encoding="utf-8")
    assert "params.yaml experiments.boxes.postprocess.nms_iou: 0.5 -&gt; 0.25. Run <code>cnnkeras repro</code>." in text
    assert '<th scope="row">postprocess.nms_iou</th><td>0.5</td>' in text
    assert '<th scope="row">evaluate@boxes</th>' in text


@pytest.mark.usefixtures("_sealed")
@pytest.mark.parametrize("file", ["plots/per_class/per_class.csv", "figures/best.png"])
def test_a_damaged_file_is_no_part_of_a_page(file):
    """The page that is there stays, and the error says how to make the file again."""
    before = write().read_bytes()
    (paths.results("boxes") / file).write_bytes(b"other")
    with pytest.raises(InputError, match=rf"{Path(file).name} has 5 bytes.*cnnkeras evaluate boxes"):
        write()
    assert paths.html_report().read_bytes() == before


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("boxes/history.csv", "epoch,loss\n1,much\n"),
        ("boxes/plots/per_class/per_class.csv", "a,b\n1,2\n"),
        ("crops/plots/confusion/confusion.csv", "actual\nzero\n"),
        ("boxes/history.csv", "loss\n1\n"),
        ("crops/mlflow.json", "{"),
        ("crops/mlflow.json", "[]"),
        ("datasets/crops/report.json", '{"splits": {}}'),
        ("datasets/crops/report.json", "[]"),
        ("datasets/crops/report.json", '{"task": "classification", "splits": []}'),
    ],
)
def test_what_no_seal_vouches_for_and_nobody_can_read_is_one_line(file, content):
    """Which file, who writes it, and no page."""
    (paths.root() / "results" / file).write_text(content)
    with pytest.raises(
        InputError, match=rf"^results/{file}: expected a file as cnnkeras \w+ \w+ writes it; received: "
    ):
        write()
    assert not paths.html_report().exists()


def test_another_file_in_its_place_is_kept():
    """A page of the user's own is not replaced, and nothing else is written."""
    paths.html_report().write_text("<p>mine")
    with pytest.raises(InputError, match="another file, which would be lost"):
        write()
    assert paths.html_report().read_text() == "<p>mine"
    assert not paths.report().exists()


@needs_chromium
def test_the_keyboard_reaches_everything(page):
    """The first stop skips the contents; each stop, by tab after tab, is seen by an outline."""
    page.open(write().as_uri(), width=1280)
    page.press("Tab")
    assert page.run("document.activeElement.className") == "skip"
    assert page.run("document.activeElement.getBoundingClientRect().left") >= 0
    stops = set()
    for _ in range(20):
        said = page.run(
            "((at) => [at.tagName, at.id || at.getAttribute('href') || at.textContent, getComputedStyle(at).outlineStyle, parseFloat(getComputedStyle(at).outlineWidth)])(document.activeElement)"
        )
        stops.add(tuple(said[:2]))
        assert said[2] != "none", said
        assert said[3] >= 2, said
        page.press("Tab")
    assert {("SELECT", "first"), ("SELECT", "second"), ("BUTTON", "swap"), ("A", "#experiment-boxes")} <= stops


@needs_chromium
def test_without_scripts_the_figures_stand_in_for_the_diagrams(page):
    """And the page says so."""
    file = write()
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        page.open(file.as_uri(), width=1280)
        assert page.run("document.images.length") == 3 * 5 + 1 + 1
        assert page.run("document.querySelector('#compare + noscript, noscript').textContent.includes('need scripts')")
    finally:
        page.call("Emulation.setScriptExecutionDisabled", value=False)


def test_the_command_is_light():
    """Neither TensorFlow nor MLflow is loaded for the page."""
    program = """
import sys
from pipeline.cli import main
main(["report", "--html"], standalone_mode=False)
print(*[name for name in ("tensorflow", "mlflow", "albumentations") if name in sys.modules], "loaded")
"""
    repository = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(repository)!r})\n{program}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1].strip() == "loaded"
    assert f"For a browser: {paths.html_report()}" in done.stdout
