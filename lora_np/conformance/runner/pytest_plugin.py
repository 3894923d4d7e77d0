"""The plugin for pytest: ``pytest --lora-np-target module:Class`` makes every test vector a test, its id the name.

Floor 6.  Whoever has the package installed has the plugin; it costs the import of NumPy, and nothing of the runner is
loaded until ``--lora-np-target`` is given.  ``-p no:lora-np`` leaves it out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of `lora-np conformance`."""
    group = parser.getgroup("lora-np", "test vectors of lora_np")
    group.addoption(
        "--lora-np-target", help="a target by name, or module:Class: its test vectors become tests"
    )
    group.addoption("--lora-np-level", default="gold", help="bronze, silver or gold")
    group.addoption("--lora-np-xfails", metavar="FILE", help="a TOML file of failures that are expected")
    group.addoption(
        "--lora-np-include", default="", help="only files whose names start so (lora/), or one id"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Load the rest where it is wanted."""
    if config.getoption("--lora-np-target"):
        from lora_np.conformance.runner.pytest_cases import Cases

        config.pluginmanager.register(Cases(config), "lora-np-cases")
