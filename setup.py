"""The packages of a wheel, which pyproject.toml cannot list.

conf/ and checkpoints/ lie beside the package in a checkout and inside of it in a wheel;
rvos.settings.CONFIG_DIR finds both.
"""

from setuptools import find_packages, setup

BESIDE = {"rvos.conf": "conf", "rvos.checkpoints": "checkpoints"}  # package -> folder
setup(packages=[*find_packages(include=["rvos*"]), *BESIDE], package_dir=BESIDE)
