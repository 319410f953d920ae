"""What training does to a model before it begins."""

import torch
from mmcv.cnn.bricks import Swish

from trainer.training.learn import quicken


def test_a_quickened_model_gives_the_same() -> None:
    torch.manual_seed(0)
    inner = torch.nn.Sequential(torch.nn.Conv2d(4, 8, 3), Swish())
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), Swish(), inner)
    images = torch.rand(2, 3, 16, 16)
    before, keys = model(images), list(model.state_dict())
    quicken(model)
    assert torch.allclose(model(images), before, atol=1e-6)
    assert list(model.state_dict()) == keys
    assert not any(isinstance(module, Swish) for module in model.modules())
    assert inner[0].weight.is_contiguous(memory_format=torch.channels_last)
