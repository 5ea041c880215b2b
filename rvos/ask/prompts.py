"""What is said to a model: the texts of a file of conf/ask."""

from dataclasses import dataclass
from pathlib import Path
from string import Template

import yaml

from rvos.errors import InputError, SettingsError
from rvos.masks import FileError, file_sha256, read_text
from rvos.settings import CONFIG_DIR, Count, Positive, Text, checked

_FOR = {  # what each text may fill in
    "presence": {"expression", "number_of_frames", "number_of_pictures", "reasons"},
    "choice": {
        *("expression", "number_of_frames", "number_of_pictures", "numbers", "round", "rounds"),
    },
    "again": {"problem"},
}


@checked
class Texts:
    """The keys of a file of conf/ask; the texts are templates with $names."""

    version: Count
    system: Text
    presence: Text
    choice: Text
    again: Text
    reasons: dict[str, str]  # why a target can be absent -> what that means
    pixels_per_token: Positive  # of a picture, for the estimate

    def __post_init__(self) -> None:
        for key, names in _FOR.items():
            template = Template(getattr(self, key))
            wrong = set(template.get_identifiers()) - names
            if wrong or not template.is_valid():
                expected = "expected a text with " + ", ".join(f"${n}" for n in sorted(names))
                raise SettingsError(
                    [f"{key}: {expected}, got {sorted(wrong) or template.template}"]
                )


@dataclass(frozen=True)
class Prompts:
    """The texts, and which file they are from."""

    texts: Texts
    name: str
    sha256: str

    @classmethod
    def read(cls, name: str) -> "Prompts":
        """`name`: of a file in conf/ask, or a path. Raises InputError."""
        path = Path(name) if name.endswith(".yaml") else CONFIG_DIR / "ask" / f"{name}.yaml"
        if not path.is_file():
            raise FileError(f"{path}: no such file of prompts; conf/ask has those of rvos")
        try:
            content = yaml.safe_load(read_text(path))
            return cls(Texts(**content), path.stem, file_sha256(path))
        except (yaml.YAMLError, TypeError, RecursionError) as error:
            raise FileError(f"{path}: not a file of prompts: {error}") from None
        except SettingsError as error:
            raise InputError(f"{path}: {error}") from None

    def presence(self, expression: str, num_frames: int, num_pictures: int) -> str:
        """The question whether the target is in the video."""
        reasons = "\n".join(f'- "{key}": {text}' for key, text in self.texts.reasons.items())
        return Template(self.texts.presence).substitute(
            expression=expression,
            number_of_frames=num_frames,
            number_of_pictures=num_pictures,
            reasons=reasons,
        )

    def choice(
        self,
        expression: str,
        num_frames: int,
        num_pictures: int,
        *,
        numbers: list[int],
        round_: int,
        rounds: int,
    ) -> str:
        """The question which of the numbered masklets are meant."""
        return Template(self.texts.choice).substitute(
            expression=expression,
            number_of_frames=num_frames,
            number_of_pictures=num_pictures,
            numbers=", ".join(map(str, numbers)),
            round=round_,
            rounds=rounds,
        )

    def again(self, problem: str) -> str:
        """What is said after a reply that cannot be read."""
        return Template(self.texts.again).substitute(problem=problem)
