"""A pruning plan cuts as slicing by hand does."""

import copy

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from pipeline.errors import ArtifactError
from pipeline.models.description.plan import KeptChannels
from pipeline.models.nets.attention import SelfAttention
from pipeline.models.nets.cut import apply_plan


class Tiny(nn.Module):
    """Every kind of module that a plan can cut; the last pool makes a vector of the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.grouped = nn.Conv2d(8, 4, 1, groups=2)
        self.layer_norm = nn.LayerNorm(4)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.grouped(self.depthwise(self.norm(self.conv(x))))
        return self.head(self.layer_norm(x.mean((2, 3))))  # type: ignore[no-any-return]


def tiny() -> Tiny:
    torch.manual_seed(0)
    model = Tiny().eval()
    model.norm.running_mean = torch.randn(8)
    model.norm.running_var = torch.rand(8) + 0.5
    with torch.no_grad():
        for parameter in (*model.norm.parameters(), *model.layer_norm.parameters()):
            parameter.normal_()
    return model


def test_plan_equals_slicing_by_hand() -> None:
    dense, cut = tiny(), tiny()
    kept, last = [0, 3, 5, 6], [1, 2]
    plan = {
        "conv": KeptChannels(out=kept),
        "norm": KeptChannels(out=kept),
        "depthwise": KeptChannels(out=kept, in_=kept),
        "grouped": KeptChannels(in_=kept, out=last),
        "layer_norm": KeptChannels(out=last),
        "head": KeptChannels(in_=last),
    }
    assert apply_plan(cut, plan) is cut
    for name in ("weight", "bias", "running_mean", "running_var"):
        assert torch.equal(getattr(cut.norm, name), getattr(dense.norm, name)[kept])
    for name in ("weight", "bias"):
        assert torch.equal(getattr(cut.conv, name), getattr(dense.conv, name)[kept])
        assert torch.equal(getattr(cut.depthwise, name), getattr(dense.depthwise, name)[kept])
        assert torch.equal(getattr(cut.layer_norm, name), getattr(dense.layer_norm, name)[last])
    # Group 0 has inputs 0-3 and keeps 0, 3; group 1 has inputs 4-7 and keeps 5, 6, its local 1, 2.
    by_hand = torch.stack([dense.grouped.weight[1, [0, 3]], dense.grouped.weight[2, [1, 2]]])
    assert torch.equal(cut.grouped.weight, by_hand)
    assert torch.equal(cut.grouped.bias, dense.grouped.bias[last])  # type: ignore[index,arg-type]
    assert torch.equal(cut.head.weight, dense.head.weight[:, last])
    assert torch.equal(cut.head.bias, dense.head.bias)


def test_attributes_follow_the_cut() -> None:
    kept, last = [0, 3, 5, 6], [1, 2]
    cut = apply_plan(
        tiny(),
        {
            "conv": KeptChannels(out=kept, in_=[0, 2]),
            "norm": KeptChannels(in_=kept),
            "depthwise": KeptChannels(in_=kept),
            "grouped": KeptChannels(in_=kept, out=last),
            "layer_norm": KeptChannels(in_=last),
            "head": KeptChannels(in_=last, out=[1]),
        },
    )
    assert isinstance(cut, Tiny)
    assert (cut.conv.in_channels, cut.conv.out_channels, cut.conv.groups) == (2, 4, 1)
    assert cut.norm.num_features == 4
    assert (cut.depthwise.in_channels, cut.depthwise.out_channels, cut.depthwise.groups) == (4, 4, 4)
    assert (cut.grouped.in_channels, cut.grouped.out_channels, cut.grouped.groups) == (4, 2, 2)
    assert cut.layer_norm.normalized_shape == (2,)
    assert (cut.head.in_features, cut.head.out_features) == (2, 1)
    assert cut(torch.randn(2, 2, 4, 4)).shape == (2, 1)


def test_cut_network_computes_what_the_dense_one_does_with_the_other_channels_off() -> None:
    """Channels that reach nothing can go: the dense net with zeroed columns gives the same outputs."""
    dense, images = tiny(), torch.randn(2, 3, 5, 5)
    kept, gone = [1, 2, 4, 7], [0, 3, 5, 6]
    cut = apply_plan(
        tiny(),
        {"grouped": KeptChannels(in_=kept)}
        | {name: KeptChannels(out=kept) for name in ("conv", "norm", "depthwise")},
    )
    with torch.no_grad():
        for channel in gone:
            dense.grouped.weight[channel // 4 * 2 : channel // 4 * 2 + 2, channel % 4] = 0
    assert torch.allclose(cut(images), dense(images), atol=1e-6)


def test_a_group_without_channels_goes() -> None:
    dense, cut = tiny(), tiny()
    apply_plan(cut, {"grouped": KeptChannels(in_=[4, 5, 6, 7], out=[2, 3])})
    assert (cut.grouped.groups, cut.grouped.in_channels, cut.grouped.out_channels) == (1, 4, 2)
    assert torch.equal(cut.grouped.weight, dense.grouped.weight[2:])


def test_frozen_parameters_stay_frozen_and_norms_without_weights_work() -> None:
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.LayerNorm(4, elementwise_affine=False))
    model.requires_grad_(False)
    apply_plan(model, {"0": KeptChannels(out=[1, 3]), "1": KeptChannels(out=[1, 3])})
    assert not model.get_parameter("0.weight").requires_grad
    assert model(torch.randn(2, 4)).shape == (2, 2)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"cnov": KeptChannels(out=[0])}, "the network has no module 'cnov'; did you mean 'conv'?"),
        ({"conv": KeptChannels(out=[0, 8])}, "'conv' keeps channel 8 of side 'out', but has only 8"),
        ({"head": KeptChannels(in_=[4])}, "'head' keeps channel 4 of side 'in', but has only 4"),
        (
            {"norm": KeptChannels(in_=[0], out=[1])},
            "'norm' maps each channel to itself, but keeps other inputs than outputs",
        ),
        (
            {"grouped": KeptChannels(in_=[0, 1, 4])},
            "'grouped' has 2 groups, which keep unequal numbers of channels",
        ),
        (
            {"grouped": KeptChannels(in_=[0, 1])},
            "'grouped' has 2 groups, which keep unequal numbers of channels",
        ),
        (
            {"": KeptChannels(out=[0])},
            "'' is a Tiny, and only Conv2d, Linear, BatchNorm1d, BatchNorm2d, LayerNorm can be cut",
        ),
    ],
)
def test_plan_that_does_not_fit_names_the_module(plan: dict[str, KeptChannels], message: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        apply_plan(tiny(), plan)
    assert message in str(caught.value)


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.arange(4.0)[None, :, None])
        self.places = nn.Parameter(torch.zeros(3, 4))


def test_a_parameter_outside_any_layer_is_cut_where_one_dimension_can_hold_channels() -> None:
    cut = apply_plan(Scaled(), {"scale": KeptChannels(out=[1, 3])})
    assert cut.get_parameter("scale").tolist() == [[[1.0], [3.0]]]
    with pytest.raises(
        ArtifactError, match=r"'places' has the shape \(3, 4\); only one dimension may hold channels"
    ):
        apply_plan(Scaled(), {"places": KeptChannels(out=[1, 3])})


def test_heads_that_the_layers_inside_do_not_have_are_refused() -> None:
    model = nn.Sequential(SelfAttention(nn.MultiheadAttention(8, 4, batch_first=True)))
    rows = [row for row in range(24) if row // 2 % 4 in (0, 2)]
    plan = {
        "0": KeptChannels(out=[0, 2]),
        "0.proj": KeptChannels(in_=rows[:4]),
        "0.qkv": KeptChannels(out=rows),
    }
    images = torch.randn(2, 3, 8)
    assert apply_plan(copy.deepcopy(model), plan)[0](images, images, images)[0].shape == (2, 3, 8)  # type: ignore[index]
    with pytest.raises(ArtifactError, match="'0' keeps other heads than the layers inside it"):
        apply_plan(model, plan | {"0": KeptChannels(out=[0, 1, 2])})


def test_layer_norm_over_space_cannot_be_cut() -> None:
    with pytest.raises(ArtifactError, match=r"'0' normalises over \(4, 4\)"):
        apply_plan(nn.Sequential(nn.LayerNorm((4, 4))), {"0": KeptChannels(out=[0])})


@pytest.mark.parametrize("indices", [[], [1, 1], [2, 1], [-1, 0]])
def test_indices_must_rise_from_zero(indices: list[int]) -> None:
    with pytest.raises(ValidationError, match="must be rising indices from 0 on"):
        KeptChannels(out=indices)


def test_json_speaks_of_in_and_out() -> None:
    kept = KeptChannels(out=[0, 2], in_=[1])
    assert kept.model_dump(mode="json") == {"out": [0, 2], "in": [1]}
    assert KeptChannels.model_validate_json(kept.model_dump_json()) == kept
    assert KeptChannels.model_validate_json('{"in": [1]}') == KeptChannels(in_=[1])
