"""Packaging of devops-snapshot; tool settings are in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = next(
    line.split('"')[1]
    for line in (HERE / "devops_snapshot" / "__init__.py").read_text().splitlines()
    if line.startswith("__version__")
)


def requirements() -> list[str]:
    """The lines of requirements.txt that name a package."""
    lines = (HERE / "requirements.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


setup(
    name="devops-snapshot",
    version=VERSION,
    description="Export and import of fuel-devops environments: memory, disks, networks, records",
    long_description=(HERE / "README.rst").read_text(),
    long_description_content_type="text/x-rst",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["devops_snapshot", "devops_snapshot.*"]),
    package_data={"devops_snapshot": ["manifest/*.json", "py.typed"]},
    install_requires=requirements(),
    entry_points={
        "console_scripts": ["dos.py = devops_snapshot.shell:main"],
        "pytest11": ["devops_snapshot = devops_snapshot.hooks.pytest_plugin"],
    },
    classifiers=[
        "Framework :: Django :: 4.2",
        "Framework :: Django :: 5.2",
        "Framework :: Pytest",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Topic :: Software Development :: Testing",
        "Topic :: System :: Archiving :: Backup",
    ],
)
