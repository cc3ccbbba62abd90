"""A fake GPU: tensors that claim to be on a GPU and raise the errors of CUDA tensors, but compute on the
CPU."""

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

GPU = torch.device("cuda")

# Run lengths are bytes for the host, wherever the masks are.
_RETURN_HOST_TENSORS = (torch.ops.pose2seg_ops.encode_rle, torch.ops.pose2seg_ops.paste_rle)

# The image of each mask may be on the host, wherever the maps are.
_INDICES_ON_HOST = (torch.ops.pose2seg_ops.paste_masks, torch.ops.pose2seg_ops.paste_rle)


class OnGpu(Tensor):
    """A tensor on the fake GPU; `FakeGpu` creates it for the device "cuda"."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func == Tensor.device.__get__:
            return GPU
        if func in (Tensor.numpy, Tensor.__array__):
            raise TypeError("a tensor on a GPU cannot be converted to an array: call cpu() first")
        if func is Tensor.cpu:
            return _off(args[0])
        if func is Tensor.to:
            return _moved(*args, **kwargs)
        _check_devices(func, tree_flatten((args, kwargs))[0])
        with torch._C.DisableTorchFunctionSubclass():
            result = func(*args, **kwargs)
        return result if func in _RETURN_HOST_TENSORS else _on(result)


class FakeGpu(TorchFunctionMode):
    """A context in which the device "cuda" is the fake GPU."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is Tensor.to:
            return _moved(*args, **kwargs)
        device = kwargs.get("device")
        if device is not None and torch.device(device).type == GPU.type:
            return _on(func(*args, **kwargs | {"device": "cpu"}))
        return func(*args, **kwargs)


def _on(value: Any) -> Any:
    return tree_map(lambda v: v.as_subclass(OnGpu) if type(v) is Tensor else v, value)


def _off(tensor: Tensor) -> Tensor:
    with torch._C.DisableTorchFunctionSubclass():
        return tensor.as_subclass(Tensor)


def _moved(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Implements `tensor.to(...)` for a device, a dtype, or another tensor."""
    target = [*args, *kwargs.values()]
    like = next((a for a in target if isinstance(a, Tensor)), None)
    named = [torch.device(a) for a in target if isinstance(a, (str, torch.device))]
    device = named[0] if named else (like if like is not None else tensor).device
    kept = [a for a in args if not isinstance(a, (str, torch.device, Tensor))]
    if like is not None:
        kept.append(like.dtype)
    rest = {key: value for key, value in kwargs.items() if key != "device"}
    with torch._C.DisableTorchFunctionSubclass():
        result = tensor.as_subclass(Tensor)
        result = result.to(*kept, **rest) if kept or rest else result
    return _on(result) if device.type == GPU.type else result


def _check_devices(func: Any, values: list[Any]) -> None:
    """Raises the error of CUDA for tensors of two devices, except for indices, copies and scalars."""
    plain = [v for v in values if isinstance(v, Tensor) and not isinstance(v, OnGpu) and v.ndim]
    if plain and func not in (Tensor.__getitem__, Tensor.copy_, *_INDICES_ON_HOST):
        raise RuntimeError(f"{func.__name__} expects all tensors on the same device, found cuda and cpu")
