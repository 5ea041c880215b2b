"""Options and fixtures of the whole test suite."""

from pathlib import Path

GOLDEN_DIR = Path(__file__).parent / "golden"


def pytest_addoption(parser):
    parser.addoption(
        "--golden-dir",
        type=Path,
        default=GOLDEN_DIR,
        help="folder with golden cases (default: the copies in tests/golden)",
    )
