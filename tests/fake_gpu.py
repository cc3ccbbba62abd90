"""Tensors that claim to live on a GPU, and refuse what CUDA's refuse; they compute on the CPU."""

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

GPU = torch.device("cuda")


class OnGpu(Tensor):
    """Made in `FakeGpu` by asking for the device "cuda"."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func == Tensor.device.__get__:
            return GPU
        if func in (Tensor.numpy, Tensor.__array__):
            raise TypeError("a tensor on a GPU is no array: cpu() first")
        if func is Tensor.cpu:
            return _off(args[0])
        if func is Tensor.to:
            return _moved(*args, **kwargs)
        _check_devices(func, tree_flatten((args, kwargs))[0])
        with torch._C.DisableTorchFunctionSubclass():
            return _on(func(*args, **kwargs))


class FakeGpu(TorchFunctionMode):
    """A context with a GPU."""

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
    """`tensor.to(...)`: to a device, a dtype, or another tensor's."""
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
    """As CUDA: tensors of two devices meet only as indices, in a copy, or where one is a number."""
    plain = [v for v in values if isinstance(v, Tensor) and not isinstance(v, OnGpu) and v.ndim]
    if plain and func not in (Tensor.__getitem__, Tensor.copy_, torch.ops.pose2seg_ops.paste_masks):
        raise RuntimeError(f"{func.__name__} expects all tensors on the same device, found cuda and cpu")
