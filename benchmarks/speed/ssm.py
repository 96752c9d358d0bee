"""State-space layers beside s5-pytorch, mambapy and a plain Vandermonde S4D; memory; growth with the length.

Width 128, state 64 (16 of selective layers), batch 8, float32. Outputs are compared with equal weights before anything
is timed. Peak memory is that of a process of its own. `python benchmarks/speed/ssm.py s4d --lengths 1024` runs a part.
"""

import argparse
import dataclasses
import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from timing import Row, check, compare, gradient, markdown, peer, quiet, write
from torch import Tensor, nn

from sciml.ssm import ZOH, Diagonal, Selective, StateSpace, s4d, s5
from sciml.ssm.kernels import causal, exponential_sum, linear_recurrence

SEED = 0
RESULTS = Path(__file__).parent / "results" / "ssm.json"
BATCH, WIDTH, STATE, MAMBA_STATE = 8, 128, 64, 16
PEERS = ("s5-pytorch", "mambapy")


class PlainS4D(nn.Module):
    """S4D as in its paper's listing: the whole complex Vandermonde matrix by einsum, then a real FFT convolution."""

    def __init__(self, layer: StateSpace) -> None:
        super().__init__()
        assert isinstance(layer.matrix, Diagonal) and layer.skip is not None and layer.log_step is not None
        a = layer.matrix.values().detach()
        self.log_decay = nn.Parameter(torch.log(-a.real))
        self.frequency = nn.Parameter(a.imag.clone())
        self.log_step = nn.Parameter(layer.log_step.detach().clone())
        self.c = nn.Parameter(torch.view_as_real(layer.ports()[1].detach()[:, 0].clone().contiguous()))
        self.skip = nn.Parameter(layer.skip.detach().clone())

    def forward(self, u: Tensor) -> Tensor:
        length = u.shape[1]
        a = torch.complex(-self.log_decay.exp(), self.frequency)
        z = a * self.log_step.exp()
        c = torch.view_as_complex(self.c) * (torch.exp(z) - 1) / a
        k = 2 * torch.einsum("hn,hnl->hl", c, torch.exp(z.unsqueeze(-1) * torch.arange(length))).real
        v = u.mT
        y = torch.fft.irfft(torch.fft.rfft(v, 2 * length) * torch.fft.rfft(k, 2 * length), 2 * length)[..., :length]
        return (y + v * self.skip.unsqueeze(-1)).mT


def both(title: str, layers: dict[str, Any], length: int, rounds: int) -> list[Row]:
    """Forward alone, and with gradients of the input and all parameters."""
    u = torch.randn(BATCH, length, WIDTH, requires_grad=True)
    forward = {name: quiet(call(layer, u)) for name, layer in layers.items()}
    with_gradient = {name: gradient(call(layer, u), [u, *learned(layer)]) for name, layer in layers.items()}
    rows = compare(f"{title}, L {length}, forward", forward, rounds)
    return rows + compare(f"{title}, L {length}, forward + gradient", with_gradient, rounds)


def call(layer: nn.Module, u: Tensor) -> Callable[[], Tensor]:
    return lambda: layer(u)


def learned(layer: nn.Module) -> list[nn.Parameter]:
    return [p for p in layer.parameters() if p.requires_grad]


def s4d_layers() -> dict[str, nn.Module]:
    """The plain one, and ours as anyone calls it."""
    layer = s4d(WIDTH, STATE)
    return {"plain Vandermonde": PlainS4D(layer), "sciml": layer}


def s5_layers() -> dict[str, nn.Module]:
    """s5-pytorch keeps both members of each pair, 64 complex states; ours one, 32, or with its weights 64."""
    theirs = peer("s5").S5(WIDTH, STATE)
    return {"s5-pytorch": theirs, "sciml, equal weights": same_s5(theirs), "sciml": s5(WIDTH, STATE)}


def same_s5(theirs: Any) -> StateSpace:
    """The weights of s5-pytorch in our layer: Re(C x) over all states is 2 Re(C/2 x)."""
    core = theirs.seq
    with torch.no_grad():
        b, c = core.get_BC_tilde()
        return StateSpace(
            Diagonal(core.Lambda.detach()[None].clone()),
            b[None],
            c[None] / 2,
            ZOH(),
            step=core.log_step.exp().reshape(1, -1),
            skip=core.D.clone(),
        )


def selective_layers() -> dict[str, nn.Module]:
    """One layer of inner width 256, mambapy's weights in ours."""
    module = peer("mambapy.mamba")
    theirs = module.MambaBlock(module.MambaConfig(d_model=WIDTH, n_layers=1, d_state=MAMBA_STATE))
    ours = Selective(WIDTH, MAMBA_STATE)
    with torch.no_grad():
        ours.enter.weight.copy_(theirs.in_proj.weight)
        ours.choose.weight.copy_(theirs.x_proj.weight)
        ours.widen.weight.copy_(theirs.dt_proj.weight)
        ours.widen.bias.copy_(theirs.dt_proj.bias)
        ours.matrix.decay.copy_(theirs.A_log)
        ours.skip.copy_(theirs.D)
        ours.leave.weight.copy_(theirs.out_proj.weight)
        ours.convolution.weight.copy_(theirs.conv1d.weight[:, 0].flip(-1).mT)
        ours.convolution.bias.copy_(theirs.conv1d.bias)
    return {"mambapy": theirs, "sciml": ours}


LAYERS = {"s4d": s4d_layers, "s5": s5_layers, "selective": selective_layers}
OTHERS = ("scan", "floors", "memory", "growth")
TOO_LARGE = {("selective", 16384)}  # mambapy's arrays of states take 2 GB each there, and it makes ten


def layer_rows(part: str, length: int, rounds: int) -> list[Row]:
    """One layer of every contender; the first two have equal weights."""
    layers = LAYERS[part]()
    if (part, length) in TOO_LARGE:
        layers = {"sciml": layers["sciml"]}
    u = torch.randn(BATCH, min(length, 1024), WIDTH)
    if len(layers) > 1:
        first, second, *_ = layers.values()
        with torch.no_grad():
            check(part, second(u), first(u), 1e-3)
    return both(part, layers, length, rounds)


def floor_rows(rounds: int) -> list[Row]:
    """Forward at length 1024 beside what nothing of its kind can do without: transforms, products, exponentials."""
    length, inner = 1024, 2 * WIDTH
    u, v = torch.randn(BATCH, length, WIDTH), torch.randn(BATCH, WIDTH, length)
    into, out = torch.randn(WIDTH, STATE), torch.randn(STATE, WIDTH)
    tile = torch.randn(BATCH, MAMBA_STATE, inner)  # one time's states; a copy of it fits the cache
    ours = {part: LAYERS[part]()["sciml"] for part in LAYERS}
    floors: dict[str, Callable[[], Any]] = {
        "s4d": lambda: torch.fft.irfft(torch.fft.rfft(v, 2 * length), 2 * length),
        "s5": lambda: (u @ into) @ out,
        "selective": lambda: [torch.exp(tile) for _ in range(length)],
    }
    names = {"s4d": "transforms alone", "s5": "two matrix products alone", "selective": "exponentials alone"}
    rows = []
    for part, layer in ours.items():
        calls = {"sciml": quiet(call(layer, u)), f"floor: {names[part]}": quiet(floors[part])}
        rows += compare(f"{part} and its floor, L {length}, forward", calls, rounds)
    return rows


@dataclasses.dataclass(frozen=True)
class Memory:
    """Peak memory of a process that runs one layer forward and backward once, less what it had before."""

    part: str
    contender: str
    length: int
    megabytes: float


def memory_rows(parts: Sequence[str], lengths: Sequence[int]) -> list[Memory]:
    """Every layer in a process of its own."""
    rows = []
    for part in parts:
        for name in LAYERS[part]():
            for length in lengths:
                if (part, length) in TOO_LARGE and name != "sciml":
                    continue
                command = [sys.executable, __file__, "--peak", part, name, str(length)]
                out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                rows.append(Memory(part, name, length, float(out)))
                print(f"| {part} | {name} | {length} | {rows[-1].megabytes:.0f} MB |", flush=True)
    return rows


def print_peak(part: str, name: str, length: int) -> None:
    """What `memory_rows` reads."""
    layer = LAYERS[part]()[name]
    u = torch.randn(BATCH, length, WIDTH, requires_grad=True)
    small = u[:, :16].detach().requires_grad_()
    gradient(call(layer, small), [small, *learned(layer)])()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    gradient(call(layer, u), [u, *learned(layer)])()
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


@dataclasses.dataclass(frozen=True)
class Growth:
    """Least times over doubled lengths, and the exponent p of a fit by time = const * length^p."""

    what: str
    lengths: list[int]
    milliseconds: list[float]
    exponent: float


def least(function: Callable[[], Any], repeats: int) -> float:
    """Milliseconds of the fastest of some calls."""
    taken = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        function()
        taken.append(1e3 * (time.perf_counter() - start))
    return min(taken[1:])


def growth_rows() -> list[Growth]:
    """Kernels and a streamed step over lengths; one step behind series of different lengths is O(1) where p is 0."""
    lengths = [2**n for n in range(11, 17)]
    c, z = torch.randn(4, 32, dtype=torch.complex64), torch.complex(-torch.rand(4, 32), torch.randn(4, 32))
    a = torch.polar(torch.rand(32), torch.randn(32))
    layer = s4d(16, STATE)

    def streamed(length: int) -> Callable[[], Any]:
        _, state = layer.prefill(torch.randn(1, length, 16))
        entry = torch.randn(1, 16)
        return lambda: [layer.step(entry, state) for _ in range(50)]

    cases: dict[str, Callable[[int], Callable[[], Any]]] = {
        "convolution (FFT)": lambda n: (lambda u, k: lambda: causal(u, k))(torch.randn(4, n), torch.randn(4, n)),
        "S4D kernel": lambda n: lambda: exponential_sum(c, z, n),
        "scan": lambda n: (lambda b: lambda: linear_recurrence(a, b))(torch.randn(1, n, 32, dtype=torch.complex64)),
        "50 streamed steps": streamed,
    }
    rows = []
    with torch.no_grad():
        for what, make in cases.items():
            taken = [least(make(n), 7) for n in lengths]
            rows.append(Growth(what, lengths, taken, slope(lengths, taken)))
            print(f"| {what} | {' | '.join(f'{ms:.2f}' for ms in taken)} | {rows[-1].exponent:.2f} |", flush=True)
    return rows


def slope(lengths: Sequence[int], taken: Sequence[float]) -> float:
    """Least squares in logarithms."""
    x, y = [math.log(n) for n in lengths], [math.log(ms) for ms in taken]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    return sum((p - mean_x) * (q - mean_y) for p, q in zip(x, y, strict=True)) / sum((p - mean_x) ** 2 for p in x)


def scan_rows(rounds: int) -> list[Row]:
    """The recurrence alone: torch's `associative_scan`, compiled, against ours; real, 64 states, batch 8."""
    from torch._higher_order_ops.associative_scan import associative_scan

    def combine(left: tuple[Tensor, Tensor], right: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return left[0] * right[0], right[0] * left[1] + right[1]

    @torch.compile
    def theirs(a: Tensor, b: Tensor) -> Tensor:
        return associative_scan(combine, (a, b), dim=1, combine_mode="generic")[1]

    rows = []
    for length in (4096, 16384):
        a, b = torch.rand(8, length, 64), torch.randn(8, length, 64)
        check("scan", linear_recurrence(a, b), theirs(a, b), 1e-4)
        calls = {
            "associative_scan, compiled": quiet(lambda a=a, b=b: theirs(a, b)),
            "sciml": quiet(lambda a=a, b=b: linear_recurrence(a, b)),
        }
        rows += compare(f"recurrence 8 x {length} x 64, forward", calls, rounds)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {[*LAYERS, *OTHERS]}; all by default")
    parser.add_argument("--lengths", type=int, nargs="*", default=[1024, 4096, 16384])
    parser.add_argument("--rounds", type=int, default=7, help="times each contender is run (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="JSON record (default: %(default)s)")
    parser.add_argument("--peak", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(SEED)
    if options.peak:
        print_peak(options.peak[0], options.peak[1], int(options.peak[2]))
        return
    wanted = options.parts or [*LAYERS, *OTHERS]
    rows: list[Row] = []
    for part in [name for name in LAYERS if name in wanted]:
        for length in options.lengths:
            count = len(rows)
            rows += layer_rows(part, length, options.rounds)
            print(markdown(rows[count:], header=False), flush=True)
    if "scan" in wanted:
        rows += scan_rows(options.rounds)
        print(markdown(rows[-4:], header=False), flush=True)
    if "floors" in wanted:
        rows += floor_rows(options.rounds)
        print(markdown(rows[-6:], header=False), flush=True)
    memory = memory_rows(list(LAYERS), options.lengths) if "memory" in wanted else []
    growth = growth_rows() if "growth" in wanted else []
    write(options.out, rows, seed=SEED, rounds=options.rounds, peers=PEERS)
    record = json.loads(options.out.read_text())
    record["memory"] = [dataclasses.asdict(row) for row in memory]
    record["growth"] = [dataclasses.asdict(row) for row in growth]
    options.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
