"""Gradients that are added in one order, whatever the number of workers."""

import torch
from torch import Tensor, nn

from pipeline.train.methods.exact_elastic import Shards
from pipeline.train.params import LOGICAL_SHARDS


def test_gradients_of_shards_lie_in_memory_as_their_parameters_do() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3)).to(memory_format=torch.channels_last)
    images = torch.randn(LOGICAL_SHARDS, 2, 5, 5)
    shards = Shards(model)
    shards.begin_step()
    for number, image in enumerate(images.chunk(LOGICAL_SHARDS)):
        shards.begin_shard()
        loss = model(image).square().sum()
        loss.backward()
        shards.end_shard(number, loss)
    shards.end_step()
    found = [parameter.grad for parameter in model.parameters()]
    model.zero_grad()
    model(images).square().sum().backward()
    for parameter, gradient in zip(model.parameters(), found, strict=True):
        assert gradient is not None
        assert gradient.stride() == parameter.stride()
        torch.testing.assert_close(gradient, parameter.grad)


def test_shards_count_a_step_once_where_it_is_counted_and_leave_other_numbers_alone() -> None:
    """As tables of positions, masks and what is frozen are."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.frozen = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
            self.register_buffer("positions", torch.arange(4))
            self.register_buffer("mask", torch.tensor([True, False]))

        def forward(self, rows: Tensor) -> Tensor:
            found: Tensor = self.frozen(self.norm(rows))
            return found

    model = Net()
    model.frozen.eval()
    shards, before = Shards(model), {name: tensor.clone() for name, tensor in model.named_buffers()}
    for _ in range(2):
        shards.begin_step()
        for number, rows in enumerate(torch.randn(8, 3).chunk(LOGICAL_SHARDS)):
            shards.begin_shard()
            loss = model(rows).square().sum()
            loss.backward()
            shards.end_shard(number, loss)
        shards.end_step()
    changed = {name for name, tensor in model.named_buffers() if not tensor.equal(before[name])}
    assert changed == {"norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}
    assert model.norm.num_batches_tracked == torch.tensor(2)
