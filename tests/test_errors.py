"""The error classes as a family: one root, stable codes, a message that survives copying between processes."""

import copy
import pickle

import pytest

from lora_np import errors

CLASSES = [x for x in vars(errors).values() if isinstance(x, type) and issubclass(x, errors.LoraNpError)]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_class_is_a_value_error_with_code_and_remedy(cls):
    error = cls("r is 0", fix="use 1")
    assert isinstance(error, ValueError)
    assert str(error) == f"r is 0; use 1 [{cls.code}]"
    assert str(cls("r is 0")) == f"r is 0 [{cls.code}]"
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is cls
        assert (twin.problem, twin.fix, str(twin)) == ("r is 0", "use 1", str(error))


def test_codes_are_unique_and_well_formed():
    codes = [cls.code for cls in CLASSES]
    assert len(set(codes)) == len(codes)
    assert all(code.startswith("LNP-E") and len(code) == 8 for code in codes)


def test_a_missing_backend_is_an_import_error_too():
    assert issubclass(errors.BackendError, ImportError)
    assert issubclass(errors.RankWarning, UserWarning)
