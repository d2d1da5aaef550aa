"""A device is handed on with its number."""

import pytest
import torch

from engine.ops.device import with_index


def test_cuda_gets_the_number_that_set_device_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    number = torch.cuda._utils._get_device_index
    with pytest.raises(ValueError, match="index"):
        number(torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    assert number(with_index("cuda")) == 3
    assert number(with_index(torch.device("cuda", 1))) == 1


def test_other_devices_stay_as_they_are() -> None:
    assert with_index("cpu") == torch.device("cpu")
