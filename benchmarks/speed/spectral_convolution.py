"""Spectral convolution and whole FNO: ours against neuraloperator's, equal weights, in turn.

Before anything is timed, outputs and gradients are compared. Floors in the same table: the Fourier transforms alone,
and the whole FNO with a convolution that costs nothing. Everything is float32.
"""

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from timing import Row, compare, markdown, write
from torch import Tensor, nn

from sciml.surrogates.networks import SpectralConvolution, from_neuraloperator, spectral_conv_module

SEED = 0
RESULTS = Path(__file__).parent / "results" / "spectral_convolution.json"
CASES = {
    "32 channels, 16x16 modes, 64x64, batch 16": (16, 32, (16, 16), (64, 64)),
    "48 channels, 32 modes, 256 points, batch 32": (32, 48, (32,), (256,)),
}


class Free(nn.Module):
    """A convolution module that costs nothing: the floor for the whole network."""

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    def forward(self, u: Tensor, output_shape: Any = None) -> Tensor:
        return u

    transform = forward


class TransformsOnly(nn.Module):
    """A Fourier transform and its inverse, nothing between: the floor for anything that uses the FFT."""

    def forward(self, u: Tensor) -> Tensor:
        axes = tuple(range(2, u.ndim))
        return torch.fft.irfftn(torch.fft.rfftn(u, dim=axes), s=u.shape[2:], dim=axes)


def check_equal(theirs: nn.Module, ours: nn.Module, u: Tensor) -> None:
    """Refuse to time unless output and input gradient agree to 1e-5 and every weight gradient to 1e-4 (relative)."""

    def gradients(module: nn.Module) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        leaf = u.clone().requires_grad_()
        out = module(leaf)
        grads = torch.autograd.grad(out.square().mean(), [leaf, *module.parameters()])
        names = [name for name, _ in module.named_parameters()]
        return out.detach(), grads[0], from_neuraloperator(dict(zip(names, grads[1:], strict=True)))

    (out, grad, weights), (out2, grad2, weights2) = gradients(theirs), gradients(ours)
    for name, a, b, tolerance in [
        ("output", out, out2, 1e-5),
        ("input gradient", grad, grad2, 1e-5),
        *((f"gradient of {name}", weights[name], weights2[name], 1e-4) for name in weights),
    ]:
        error = float((a - b).abs().max() / a.abs().max())
        if not error <= tolerance:
            raise SystemExit(f"{name} differs by {error:.1e}, more than {tolerance:.0e}; nothing was timed.")


def timed(name: str, modules: dict[str, nn.Module], u: Tensor, rounds: int) -> list[Row]:
    """Forward without gradients and forward + backward; eager, and in 2-D also compiled (that takes minutes)."""

    def forward(module: Callable[[Tensor], Tensor]) -> Callable[[], None]:
        def call() -> None:
            with torch.no_grad():
                module(u)

        return call

    def both(module: Callable[[Tensor], Tensor], parameters: list[nn.Parameter]) -> Callable[[], None]:
        leaf = u.clone().requires_grad_()
        direction = torch.randn_like(module(u).detach())

        def call() -> None:
            torch.autograd.grad(module(leaf), [leaf, *parameters], direction)

        return call

    rows = []
    for mode in ("eager", "compiled") if u.ndim == 4 else ("eager",):
        if mode == "eager":
            callables: dict[str, Callable[[Tensor], Tensor]] = dict(modules)
        else:
            callables = {key: torch.compile(module) for key, module in modules.items()}
        rows += compare(f"{name}, {mode}, forward", {k: forward(f) for k, f in callables.items()}, rounds)
        steps = {k: both(f, list(modules[k].parameters())) for k, f in callables.items()}
        rows += compare(f"{name}, {mode}, forward + backward", steps, rounds)
    return rows


def layer_rows(title: str, rounds: int) -> list[Row]:
    """The convolution alone."""
    from neuralop.layers.spectral_convolution import SpectralConv

    batch, channels, modes, points = CASES[title]
    theirs = SpectralConv(channels, channels, modes)
    ours = SpectralConvolution(channels, channels, modes)
    ours.load_state_dict(from_neuraloperator(theirs.state_dict()))
    u = torch.randn(batch, channels, *points)
    check_equal(theirs, ours, u)
    modules = {"neuraloperator": theirs, "sciml": ours, "floor: FFT pair": TransformsOnly()}
    return timed(f"layer, {title}", modules, u, rounds)


def network_rows(title: str, rounds: int) -> list[Row]:
    """neuraloperator's FNO (4 layers, its defaults) with three convolution modules."""
    from neuralop.models import FNO

    batch, channels, modes, points = CASES[title]

    def build(**options: Any) -> nn.Module:
        return FNO(n_modes=modes, in_channels=1, out_channels=1, hidden_channels=channels, **options)

    theirs, ours, free = build(), build(conv_module=spectral_conv_module), build(conv_module=Free)
    ours.load_state_dict(from_neuraloperator(theirs.state_dict()))
    u = torch.randn(batch, 1, *points)
    check_equal(theirs, ours, u)
    modules = {"neuraloperator": theirs, "with sciml's convolution": ours, "floor: convolution free": free}
    return timed(f"FNO, {title}", modules, u, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25, help="times each contender is run (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="JSON record (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(SEED)
    # neuraloperator's helpers are traced many times over; the default limit would drop it back to eager.
    torch._dynamo.config.recompile_limit = 64  # type: ignore[attr-defined]
    warnings.filterwarnings("ignore", module=r"torch\._(dynamo|inductor)")

    rows = []
    for title in CASES:
        for part in (layer_rows, network_rows):
            new = part(title, options.rounds)
            print(markdown(new, header=not rows), flush=True)
            rows += new
            torch.compiler.reset()
    write(options.out, rows, seed=SEED, rounds=options.rounds, peers=("neuraloperator",))
    print(f"\nRecorded in {options.out}.")


if __name__ == "__main__":
    main()
