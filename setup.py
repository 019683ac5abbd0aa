"""What pip needs to know; the settings of the tools are in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "_utils/corral/__init__.py").read_text())[1]

setup(
    name="saltext-corral",
    version=VERSION,
    description="Hypervisors, Open vSwitch, images and guest pools kept as declared, by Salt",
    long_description=(HERE / "README.rst").read_text(),
    long_description_content_type="text/x-rst",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=[*find_packages("_utils"), "corral.modules", "corral.states"],
    package_dir={"": "_utils", "corral.modules": "_modules", "corral.states": "_states"},
    install_requires=["salt>=3006", "pydantic>=2"],
    extras_require={"guest": ["libvirt-python"], "link": ["pyroute2.minimal"], "readout": ["asyncssh"]},
    entry_points={"salt.loader": ["corral = corral.loader:dirs"]},
    classifiers=["Topic :: System :: Systems Administration", "Programming Language :: Python :: 3"],
)
