"""What the registered operators share: which gradients somebody asked for.

Rules for their authors. An operator is a `torch.library.custom_op` with a fake kernel that returns
the real strides and a backward formula made of differentiable functions, never an
`autograd.Function` (under torch.compile its second derivative is silently wrong). When the
meaning of a schema or of a fake kernel changes, so does the operator's name: Inductor's cache
does not see inside.
"""

import torch


def needed(ctx, i: int, place: int | None = None) -> bool:
    """Whether tensor argument i of an operator is to get a gradient in this backward pass.

    `ctx.needs_input_grad` says what could get one: in `autograd.grad(scores, images)` that is
    every weight too, at the price of a convolution each. `place` is i among the arguments that
    are tensors, where one before it is None.
    """
    if not ctx.needs_input_grad[i]:
        return False
    node = ctx.next_functions[i if place is None else place][0]
    try:
        return torch._C._will_engine_execute_node(node)
    except RuntimeError:  # a leaf that is named in `inputs`
        return True
