"""Operators: what graphs see as one operation, and a program that makes none calls without detour.

Rules for their authors. An operator has a fake kernel that returns the real strides, and a backward
formula made of differentiable functions. When the meaning of a schema or of a fake kernel changes,
so does the operator's name: Inductor's cache does not see inside.
"""

from collections.abc import Callable

import torch
from torch.utils._python_dispatch import _get_current_dispatch_mode


class Operator:
    """A function registered as `torch.library.custom_op`, under which compilers know it.

    Of the 0.1 to 0.2 ms of a processor's time that such an operator takes, its function needs a
    small part. So where nobody watches, the function is called itself, in an `autograd.Function` if
    gradients are being kept. (Under torch.compile, which watches, the second derivative of such a
    one is silently wrong.)
    """

    def __init__(self, name: str, function: Callable, schema: str | None):
        self.registered = torch.library.custom_op(
            f"largegan::{name}", function, mutates_args=(), schema=schema
        )
        self.name, self.function = name, function
        self.apply: Callable | None = None  # with gradients

    def register_fake(self, function: Callable) -> Callable:
        """The shape, type and strides of the result."""
        return self.registered.register_fake(function)

    def register_autograd(self, backward: Callable, *, setup_context: Callable) -> None:
        """As of `torch.library.custom_op`: setup_context(ctx, inputs, output)."""
        self.registered.register_autograd(backward, setup_context=setup_context)

        def forward(ctx, *arguments):  # PyTorch binds names anew in every call of the other form
            result = self.function(*arguments)
            setup_context(ctx, arguments, result)
            return result

        members = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
        self.apply = type(self.name, (torch.autograd.Function,), members).apply

    def __call__(self, *arguments):
        if watched():
            return self.registered(*arguments)
        if not torch.is_grad_enabled():
            return self.function(*arguments)
        # One without derivatives says so if it is asked for them.
        return self.registered(*arguments) if self.apply is None else self.apply(*arguments)


def operator(name: str, schema: str | None = None) -> Callable[[Callable], Operator]:
    """Decorates the function of `largegan::NAME`; without a schema, its annotations are one."""
    return lambda function: Operator(name, function, schema)


def watched() -> bool:
    """Whether somebody makes a graph of what is called, transforms it, or takes its time."""
    return (
        torch.compiler.is_compiling()
        or _get_current_dispatch_mode() is not None
        or torch._C._are_functorch_transforms_active()
        or torch.autograd._profiler_enabled()
    )


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
