"""`python -m rvos weights`: the table of weights; get them; check what is here and what it fits."""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from rvos.errors import InputError, list_problems, needing_models
from rvos.masks import FileError, file_sha256, read_json
from rvos.weights import hub
from rvos.weights.local import (
    WEIGHTS,
    Weight,
    commit_of,
    fetch,
    find,
    folder_of,
    here,
    how_to_get,
    read_record,
    recorded_files,
    unreachable,
    use_revisions,
)
from rvos.weights.programs import is_installed, run_command
from rvos.weights.table import GROUPS


def rows() -> list[tuple[str, ...]]:
    """The table for docs/weights.md: name, what for, size, licence, where from, setting."""
    return [
        (
            f"`{weight.name}`",
            weight.purpose,
            hub.in_bytes(weight.size),
            weight.licence + (", gated" if weight.gated else ""),
            _address(weight),
            f"`{weight.used_by}`",
        )
        for weight in WEIGHTS.values()
    ]


def _address(weight: Weight) -> str:
    if weight.repo:
        return f"Hugging Face `{weight.repo}`"
    if weight.url:
        return f"<{weight.url}>"
    return f"`{weight.command}`" if weight.command else "no address known; give a file of your own"


def markdown() -> str:
    """The table of docs/weights.md."""
    head = ("name", "what for", "size, about", "licence", "where it comes from", "setting")
    lines = [head, ("---",) * len(head), *rows()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def state_of(weight: Weight) -> tuple[bool, str]:
    """Whether weights are here, and what there is to say of that."""
    try:
        found = here(weight)
    except InputError as error:
        return False, str(error)
    if found is None:
        return False, "no"
    commit = commit_of(weight)[:8]
    return True, f"yes, {commit}" if commit else "yes"


def show(console: Console) -> int:
    """Print the table of all weights."""
    table = Table(Column("name", no_wrap=True), "what for", "size", "licence", "here")
    for weight in WEIGHTS.values():
        licence = weight.licence + (", gated" if weight.gated else "")
        found, text = state_of(weight)
        style = "green" if found else "red" if text != "no" else ""
        recorded = recorded_files(weight) if found else {}
        size = sum(file["size"] for file in recorded.values()) or weight.size
        shown = "no address known" if text == "no" and _address(weight).startswith("no") else text
        cells = (weight.name, weight.purpose, hub.in_bytes(size), licence)
        table.add_row(*cells, f"[{style}]{shown}[/]" if style else shown)
    console.print(table)
    console.print(
        f"The hub's files: {hub.cache_folder()} (HF_HOME); others: paths.weights (RVOS_WEIGHTS). "
        "Addresses and settings: docs/weights.md",
        soft_wrap=True,
    )
    return 0


def get(names: Sequence[str], revision: str | None, console: Console) -> int:
    """Fetch weights by name, or by their name on the hub (--revision REV: not that of main).

    `small` is all that masklets=small and coarse=small need.
    """
    names = [row for name in names for row in GROUPS.get(name, (name,))]
    wanted = [(name, find(name)) for name in names]
    if unknown := [name for name, weight in wanted if weight is None]:
        raise InputError(
            f"{', '.join(unknown)}: no such name. `python -m rvos weights` lists them; a name on "
            "the hub is OWNER/NAME"
        )
    if revision is not None:
        use_revisions(dict.fromkeys(names, revision))
    for _, weight in wanted:
        assert weight is not None
        if weight.command:
            run_command(weight)
            console.print(f"{weight.name}: installed", highlight=False)
            continue
        try:
            fetch(weight)
        except hub.Unreachable as error:
            raise InputError(unreachable(weight.name, [weight], error)) from None
        for name, file in recorded_files(weight).items():
            console.print(f"  {file['sha256']}  {name}", highlight=False, soft_wrap=True)
        commit = commit_of(weight)
        where = folder_of(weight) if weight.repo else folder_of(weight) / weight.files[0]
        at = f", revision {commit}" if commit else ""
        console.print(f"{weight.name}: {where}{at}", highlight=False, soft_wrap=True)
    return 0


def check(names: Sequence[str], console: Console) -> int:
    """Hash what is here and say which setting it fits; `names`: names, files or folders."""
    found = {name: None if Path(name).exists() else find(name) for name in names}
    if unknown := [n for n, weight in found.items() if weight is None and not Path(n).exists()]:
        raise InputError(f"{', '.join(unknown)}: no such name, file or folder")
    every = found or {n: w for n, w in WEIGHTS.items() if read_record(w) or state_of(w)[0]}
    if not every:
        console.print("nothing is here; `python -m rvos weights get NAME` fetches weights")
    problems = 0
    for name, weight in every.items():
        if weight and weight.command:
            told = "ok: installed" if is_installed(weight) else f"not here. {how_to_get(weight)}"
            problems += told.startswith("not")
            console.print(f"{name}: {told}", highlight=False, markup=False, soft_wrap=True)
            continue
        wrong = list(_damaged(weight)) if weight else []
        if not wrong:
            path = here(weight) if weight else Path(name)
            wrong, contents = _opened(path) if path else (["not here or not whole"], None)
        if weight and not wrong and not _suits(weight, contents):
            wrong = [f"expected weights for {weight.used_by}, found: {contents}"]
        problems += len(wrong)
        said = "; ".join(wrong) if wrong else f"ok: {contents}"
        console.print(f"{name}: {said}", highlight=False, markup=False, soft_wrap=True)
    return int(problems > 0)


def _damaged(weight: Weight) -> Iterable[str]:
    """Each recorded file whose content is not the one that was fetched."""
    for name, was in recorded_files(weight).items():
        path = folder_of(weight) / name
        if not path.is_file():
            yield f"{path} is missing; `python -m rvos weights get {weight.name}`"
        elif (found := file_sha256(path)) != was["sha256"]:
            yield (
                f"{path}: expected SHA-256 {was['sha256']}, found {found}; "
                f"`python -m rvos weights get {weight.name}` fetches it again"
            )


def _opened(path: Path) -> tuple[list[str], "Contents | None"]:
    """Errors of the loader that a run would use, and what the weights are."""
    try:
        with needing_models():
            contents = fits(path)
            open_as_a_run_does(path)
    except InputError as error:
        return [str(error)], None
    return [], contents


def _suits(weight: Weight, contents: "Contents | None") -> bool:
    """Whether these are weights for the setting of the table's row."""
    assert contents
    return weight.setting in contents.settings and weight.backbone in (None, contents.backbone)


def open_as_a_run_does(path: Path) -> None:
    """Load the network or tokenizer of a folder or file, and let it go. Raises InputError."""
    from rvos.mutr.text import load_tokenizer
    from rvos.tracking.detect import load_detector
    from rvos.tracking.sam2_weights import load_edgetam, load_transformers
    from rvos.tracking.sam3 import load_sam3

    if path.is_file():
        from rvos.mutr.checkpoint import is_network, misfits
        from rvos.weights.tensors import read_state

        state = read_state(path)
        if "image_encoder.trunk.patch_embed.proj.weight" in state:
            load_transformers(str(path))
        elif is_network(state) and (problems := misfits(state)):
            raise InputError(list_problems(f"{path}: keys that do not fit", problems))
        return  # a backbone: `fits` has compared every tensor
    kind = read_json(path / "config.json").get("model_type")
    if kind == "grounding-dino":
        load_detector(str(path))
    elif kind == "roberta":
        load_tokenizer(str(path))
    elif kind == "edgetam_video":
        load_edgetam(str(path))
    elif kind == "sam2_video":
        load_transformers(str(path))
    elif kind == "sam3_video":
        load_sam3(str(path))


@dataclass(frozen=True)
class Contents:
    """What weights are, and the settings that take them."""

    what: str
    settings: tuple[str, ...]
    backbone: str | None = None  # of a MUTR, or for one

    def __str__(self) -> str:
        return f"{self.what}, for {' or '.join(self.settings) or 'no setting of rvos'}"


def fits(path: Path) -> Contents:
    """What weights are, and the settings that take them. Raises InputError if rvos reads no such.

    A folder is told by its config.json, a file by the tensors in it.
    """
    if path.is_dir():
        try:
            kind = read_json(path / "config.json").get("model_type")
        except (FileError, AttributeError) as error:
            raise InputError(f"{path}: expected a config.json with a model_type: {error}") from None
        takers = tuple({w.setting: None for w in WEIGHTS.values() if w.model_type == kind})
        return Contents(f"model_type {kind}", takers)
    if path.suffix == ".onnx":
        sha256 = file_sha256(path)
        if row := next((w for w in WEIGHTS.values() if w.sha256 == sha256), None):
            return Contents(row.purpose, (row.setting,))
        raise InputError(f"{path}: an ONNX file that rvos does not know")
    from rvos.mutr.backbone_weights import fitting
    from rvos.mutr.checkpoint import guess_backbone, is_network, summary
    from rvos.tracking.sam2_weights import size_of, version_of
    from rvos.weights.tensors import read_state

    state = read_state(path)
    if "image_encoder.trunk.patch_embed.proj.weight" in state:
        what = f"SAM {version_of(state)}, Hiera {size_of(state).name}"
        return Contents(what, ("masklets.weights",))
    if is_network(state):
        takers = ("coarse.checkpoint", "model.weights")
        return Contents(summary(state)[0], takers, guess_backbone(state)[0])
    if backbone := fitting(state):
        return Contents(f"backbone {backbone}", ("model.backbone_weights",), backbone)
    raise InputError(f"{path}: holds no weights that rvos reads")


def main(arguments: Sequence[str]) -> int:
    """List the weights that rvos can use, fetch them, or check those that are here."""
    parser = argparse.ArgumentParser(prog="python -m rvos weights", description=main.__doc__)
    parser.add_argument(
        "--markdown", action="store_true", help="print the table of docs/weights.md"
    )
    parsers = parser.add_subparsers(dest="command")
    getting = parsers.add_parser("get", help=get.__doc__, description=get.__doc__)
    getting.add_argument("names", nargs="+", metavar="NAME")
    getting.add_argument("--revision", help="commit, tag or branch of the hub instead of main")
    checking = parsers.add_parser("check", help=check.__doc__, description=check.__doc__)
    checking.add_argument("names", nargs="*", metavar="NAME")
    given = parser.parse_args(arguments)
    console = Console()
    if given.command == "get":
        return get(given.names, given.revision, console)
    if given.command == "check":
        return check(given.names, console)
    if given.markdown:
        print(markdown())
        return 0
    return show(console)
