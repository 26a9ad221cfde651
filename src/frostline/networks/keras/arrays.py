"""Which arrays a Keras layer has, in which order, and how each becomes PyTorch's."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from frostline.base.errors import WeightsError
from frostline.networks.translate import geometry

Array = NDArray[Any]
_GATES = "zrh"


def roles_of(op: str, settings: Mapping[str, Any]) -> list[str]:
    """Returns the roles of a layer's arrays in Keras's order: trained ones first."""
    bias = ["bias"] if settings.get("bias") else []
    if op in ("conv2d", "depthwise_conv2d", "conv2d_transpose", "dense"):
        return ["kernel", *bias]
    if op == "separable_conv2d":
        return ["depthwise_kernel", "pointwise_kernel", *bias]
    if op == "gru":
        return ["kernel", "recurrent_kernel", *bias]
    if op in ("batch_norm", "layer_norm"):
        own = [role for role, key in (("gamma", "scale"), ("beta", "center")) if settings[key]]
        return [*own, "mean", "variance"] if op == "batch_norm" else own
    if op == "normalize":
        return ["mean", "variance", "count"] if settings.get("mean") is None else []
    return {"channel_scale": ["gamma"], "prelu": ["alpha"]}.get(op, [])


def with_roles(
    op: str, settings: Mapping[str, Any], arrays: Sequence[tuple[str, Array]]
) -> dict[str, Array]:
    """Gives each array of a layer its role, by what the file calls it or else by order.

    Raises:
        WeightsError: Where there are more arrays than the layer has, or one is called by a name
            that the layer has no use for.
    """
    wanted = roles_of(op, settings)
    if op == "gru" and len(arrays) == 9:
        return _joined_gates(arrays)
    named = [_as_called(op, role) for role, _ in arrays]
    values = [array for _, array in arrays]
    if all(named) and len(set(named)) == len(named):
        strange = [role for role in named if role not in wanted]
        if strange:
            raise WeightsError(f"the file has {', '.join(strange)}, the layer {_listed(wanted)}")
        return dict(zip(named, values, strict=True))
    if len(values) != len(wanted):
        raise WeightsError(f"the file has {len(values)} arrays, the layer {_listed(wanted)}")
    return dict(zip(wanted, values, strict=True))


def as_tensor(op: str, role: str, array: Array, theano: bool, turned: bool) -> Tensor:
    """Turns an array of Keras into the tensor PyTorch has.

    Args:
        op: The layer's operator.
        role: Which of its arrays.
        array: The array.
        theano: Whether kernels lie as [out, in, h, w], as Keras 1 wrote them beside Theano.
        turned: Whether kernels were trained by Theano, which turns them by 180°.

    Raises:
        WeightsError: Where a kernel has not as many axes as it must.
    """
    # A copy in this machine's byte order: what lies in a file cannot be written to.
    tensor = torch.from_numpy(np.array(array, array.dtype.newbyteorder("="), order="C"))
    tensor = tensor.to(torch.float32) if role != "count" else tensor
    is_conv = op.endswith(("conv2d", "conv2d_transpose")) and role.endswith("kernel")
    if not is_conv:
        if role.endswith("kernel") and tensor.dim() == 2:
            return tensor.T
        return tensor.reshape(-1, tensor.shape[-1]) if op == "gru" and role == "bias" else tensor
    if tensor.dim() != 4:
        raise WeightsError(f"a kernel must have 4 axes; it is {list(tensor.shape)}")
    if theano:
        return geometry.turned(tensor) if turned else tensor
    kernel = _kernel(op, role, tensor)
    return geometry.turned(kernel) if turned else kernel


def _kernel(op: str, role: str, tensor: Tensor) -> Tensor:
    if op == "depthwise_conv2d" or role == "depthwise_kernel":
        return geometry.depthwise_kernel(tensor)
    if op == "conv2d_transpose":
        return geometry.transposed_kernel(tensor)
    return geometry.conv_kernel(tensor)


def _as_called(op: str, role: str) -> str:
    """The role under which the layer knows what a file calls so."""
    return "kernel" if op == "depthwise_conv2d" and role == "depthwise_kernel" else role


def _joined_gates(arrays: Sequence[tuple[str, Array]]) -> dict[str, Array]:
    """Joins the nine arrays of a GRU of Keras 1: W, U and b of the gates z, r and h̃."""
    by_role = dict(arrays)
    if set(by_role) != {f"{kind}_{gate}" for kind in "WUb" for gate in _GATES}:
        order = [f"{kind}_{gate}" for gate in _GATES for kind in "WUb"]
        by_role = dict(zip(order, (array for _, array in arrays), strict=True))
    joined = {"kernel": "W", "recurrent_kernel": "U", "bias": "b"}
    return {
        role: np.concatenate([by_role[f"{kind}_{gate}"] for gate in _GATES], axis=-1)
        for role, kind in joined.items()
    }


def _listed(roles: Sequence[str]) -> str:
    return ", ".join(roles) or "none"
