"""Convolutions that also add and activate, for prediction on the CPU.

An addition or an activation after a convolution reads and writes the whole output again; oneDNN computes them
in the same pass. Inductor does that too, but needs a compiler and minutes.
"""

import operator
from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from pose2seg.network.encoders.efficientnet_lite import SamePadded

Activation = Callable[..., Tensor]

#: The name and the arguments of an activation in oneDNN.
_ACTIVATIONS: dict[Activation, tuple[str, list[float]]] = {
    F.relu: ("relu", []),
    F.relu6: ("hardtanh", [0.0, 6.0]),
}


class FusedConvolution(nn.Module):
    """Computes activation(convolution(x) + other) in one pass.

    convolution: the layer whose weights are used, for which `can_fuse` is true.
    activation: `relu` or `relu6` of `torch.nn.functional`, or None.
    """

    def __init__(self, convolution: nn.Conv2d, activation: Activation | None) -> None:
        super().__init__()
        weight: Tensor = convolution.weight
        if isinstance(convolution, SamePadded):
            weight = convolution.padded_weight()
        weight = weight.detach().contiguous(memory_format=torch.channels_last)
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = convolution.bias
        self._geometry = convolution.padding, convolution.stride, convolution.dilation, convolution.groups
        self._activation = _ACTIVATIONS[activation] if activation is not None else (None, [])

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        """Computes the result for x, (B, in_channels, H, W).

        other: a tensor with the shape of the result, or None for no addition.
        """
        name, scalars = self._activation
        convolve = torch.ops.mkldnn._convolution_pointwise
        layer = self.weight, self.bias, *self._geometry
        if other is None:
            return convolve(x, *layer, name or "none", scalars, "")
        return convolve.binary(x, other, *layer, "add", None, name, scalars, "")


def can_fuse(weight: Tensor) -> bool:
    """Returns whether oneDNN computes convolutions with `weight` on this processor."""
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    if weight.dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    if weight.dtype == torch.float16:
        return bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())
    return weight.dtype == torch.float32


def fuse_convolutions(module: nn.Module) -> fx.GraphModule:
    """Returns `module` as a graph that fuses each convolution with the addition and activation after it.

    The layers are moved out of `module`, which cannot be used afterwards. Results in float32 are unchanged.
    In half precision they are rounded once, after the activation, instead of after each step.
    """
    graph = _Tracer().trace(module)
    ready = fx.GraphModule(module, graph)
    for node in list(graph.nodes):
        if isinstance(_layer(ready, node), nn.Identity):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    for node in list(graph.nodes):
        convolution = _layer(ready, node)
        if isinstance(convolution, nn.Conv2d) and _pads_with_zeros(convolution):
            _fuse(ready, node, convolution)
    ready.recompile()
    return ready


class _Tracer(fx.Tracer):
    """Traces down to convolutions, including those of this package's own classes."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, nn.Conv2d) or super().is_leaf_module(m, module_qualified_name)


def _pads_with_zeros(convolution: nn.Conv2d) -> bool:
    """Returns whether oneDNN can pad as this layer does: with zeros, by given numbers of pixels."""
    return convolution.padding_mode == "zeros" and not isinstance(convolution.padding, str)


def _layer(ready: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    return ready.get_submodule(str(node.target)) if node.op == "call_module" else None


def _fuse(ready: fx.GraphModule, node: fx.Node, convolution: nn.Conv2d) -> None:
    """Replaces a convolution together with an addition and an activation if nothing else uses its result."""
    replaced, inputs = [node], [node.args[0]]
    activation: Activation | None = None
    user = _only_user(node)
    if user is not None and user.target is operator.add and user.args[0] is not user.args[1]:
        replaced.append(user)
        inputs.append(next(argument for argument in user.args if argument is not node))
        user = _only_user(user)
    # After an addition, PyTorch only passes ReLU on to oneDNN.
    if user is not None and user.target in (_ACTIVATIONS if len(inputs) == 1 else [F.relu]):
        replaced.append(user)
        activation = cast(Activation, user.target)
    ready.set_submodule(str(node.target), FusedConvolution(convolution, activation))
    with ready.graph.inserting_after(replaced[-1]):
        fused = ready.graph.call_module(str(node.target), tuple(inputs))
    replaced[-1].replace_all_uses_with(fused)
    for old in reversed(replaced):
        ready.graph.erase_node(old)


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None
