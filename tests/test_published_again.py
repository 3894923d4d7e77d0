"""What is published of released software, run again: every script, and whole capabilities of each target."""

import importlib.metadata

import pytest

from lora_np.conformance.published import measuring, results
from lora_np.conformance.published.verdicts import read_verdicts
from lora_np.conformance.runner.run import check, chosen

pytestmark = pytest.mark.interop
pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("loralib", reason="loralib is not installed")

IMPLEMENTATIONS = {one.target: one for one in results().implementations}
SCRIPTS = {
    failure.name: (one.target, failure.reproducer, failure.prints)
    for one in IMPLEMENTATIONS.values()
    for failure in one.failures
    if failure.reproducer
}
SAMPLED = (
    ("conv1d", "olora/init"),
    ("loralib", "lora-transposed/merge"),
    ("peft", "ia3/unmerge"),
    ("peft", "oft/merge"),
    ("peft-rslora", "combine-cat/combine"),
    ("torch", "vera/merge"),
)


def require_the_same(target):
    """Skip unless what is installed is what was measured."""
    for package, version in IMPLEMENTATIONS[target].versions.items():
        if package in ("peft", "loralib", "transformers"):
            try:
                installed = importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                pytest.skip(f"{package} is not installed")
            if installed != version:
                pytest.skip(f"measured with {package} {version}, installed is {installed}")


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_each_reproducer_prints_what_is_published(name):
    target, script, prints = SCRIPTS[name]
    require_the_same(target)
    assert measuring.run(script) == prints


@pytest.mark.parametrize(("target", "file"), SAMPLED)
def test_a_capability_run_again_is_what_is_published(target, file):
    require_the_same(target)
    cases = chosen(file)
    report = check(measuring.PATHS.get(target, target), cases=cases, limit=measuring.LIMIT)
    verdicts = [one._replace(reproducer="") for one in read_verdicts()]
    found, unjudged = measuring.summed_up(target, report, {case.id: case for case in cases}, verdicts)
    assert not unjudged
    published = IMPLEMENTATIONS[target]
    capability = file.replace("/", ".")
    assert counts(found, capability) == counts(published, capability)
    assert judged(found, capability) == judged(published, capability)


def counts(measured, capability):
    """The numbers of a capability."""
    row = next(row for row in measured.table if row.capability == capability)
    return row[1:5]


def judged(measured, capability):
    """How many failures of a capability each entry explains."""
    found = {}
    for failure in measured.failures:
        if failure.capability == capability:
            found[failure.name] = found.get(failure.name, 0) + failure.number
    return found
