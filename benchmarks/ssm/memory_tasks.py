"""Two made-up tasks that ask for memory: adding, and copying what was chosen."""

import torch
from batch import Batch
from torch.nn.functional import one_hot

from sciml.core import Key


def adding(key: Key, length: int) -> Batch:
    """Two channels: numbers, uniform in [0, 1), and marks, 1 at one place of each half, else 0. Target: the sum of the
    two marked numbers, (batch, 1). Its variance, the error of the best constant (1), is 1/6.

    Source: Hochreiter & Schmidhuber (1997), Neural Computation 9, section 5.4, with numbers in [0, 1) and marks 0, 1,
    as in Le, Jaitly & Hinton (2015), arXiv:1504.00941, section 4.1.
    """
    numbers = key.fold(0).uniform(length, dtype=torch.float32)
    half = length // 2
    place = key.fold(1).uniform(2, dtype=torch.float64)
    first = (place[:, :1] * half).long()
    second = half + (place[:, 1:] * (length - half)).long()
    marks = torch.zeros_like(numbers).scatter_(1, torch.cat([first, second], dim=1), 1.0)
    return Batch(torch.stack([numbers, marks], dim=-1), (numbers * marks).sum(1, keepdim=True))


def selective_copying(key: Key, length: int, tokens: int, symbols: int) -> Batch:
    """`tokens` symbols at random places among blanks, `length` in all, then `tokens` times the mark that asks for them.

    Channels are one-hot: the symbols, the blank, the mark. Targets: the symbols in their order, (batch, tokens), to be
    said at the last `tokens` times. The spacing is random, so that no fixed filter can tell which symbol comes when.

    Source: Gu & Dao (2023), arXiv:2312.00752, section 3.1 and appendix E.1, which has length 4096.
    """
    batch = len(key.ids)
    said = (key.fold(0).uniform(tokens, dtype=torch.float64) * symbols).long()
    places = key.fold(1).uniform(length, dtype=torch.float64).argsort(dim=1)[:, :tokens].sort(dim=1).values
    content = torch.full((batch, length), symbols).scatter_(1, places, said)
    asked = torch.full((batch, tokens), symbols + 1)
    series = one_hot(torch.cat([content, asked], dim=1), symbols + 2)
    return Batch(series.float(), said)
