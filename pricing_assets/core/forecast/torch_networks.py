r"""The two networks: an LSTM that reads on into the horizon, and a small Transformer.

Both are direct: they read the recent weeks and the known inputs of all H periods ahead, never
their own forecasts, and give two log ratios to the base for each period, of mean and median,

.. math:: r = b \tanh(g / b), \qquad b = 3,

so that a forecast is within a factor of 20 of the base, and is the base before any training.
LSTM: Hochreiter and Schmidhuber 1997, in the encoder-decoder of Sutskever et al. 2014.
Transformer: Vaswani et al. 2017, normalised before each layer (Xiong et al. 2020); a token is a
week of the past (Nie et al. 2023) or a period ahead. Only modules belong here: importing this
imports torch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pricing_assets.core.forecast.torch_windows import NetworkSize

_RATIO_BOUND = 3.0
_CODE_WIDTH = 4
_HEADS = 4
_DROPOUT = 0.1


class _Ends(nn.Module):
    """Input and output layers that both networks share."""

    def __init__(self, size: NetworkSize) -> None:
        super().__init__()
        width = size.future + _CODE_WIDTH * len(size.codes)
        self.codes = nn.ModuleList(nn.Embedding(count, _CODE_WIDTH) for count in size.codes)
        self.past = nn.Linear(size.past, size.hidden)
        self.future = nn.Sequential(nn.Linear(width, size.hidden), nn.GELU())
        self.dropout = nn.Dropout(_DROPOUT)
        self.mix = nn.Linear(2 * size.hidden, size.hidden)
        self.ratio = nn.Linear(size.hidden, 2)
        nn.init.zeros_(self.ratio.weight)
        nn.init.zeros_(self.ratio.bias)

    def inputs(self, past: Tensor, future: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Past (n, P, hidden) and future (n, H, hidden)."""
        known = torch.cat([layer(codes[:, at]) for at, layer in enumerate(self.codes)], dim=1)
        known = known[:, None, :].expand(-1, future.shape[1], -1)
        return self.past(past), self.future(torch.cat([future, known], dim=2))

    def ratios(self, context: Tensor, ahead: Tensor) -> Tensor:
        """(n, H, 2) bounded log ratios of mean and median."""
        mixed = nn.functional.gelu(self.mix(torch.cat([context, ahead], dim=2)))
        return _RATIO_BOUND * torch.tanh(self.ratio(self.dropout(mixed)) / _RATIO_BOUND)


class Lstm(nn.Module):
    """Encoder over past weeks; a decoder that starts from its state reads the periods ahead."""

    def __init__(self, size: NetworkSize) -> None:
        super().__init__()
        self.ends = _Ends(size)
        self.encoder = nn.LSTM(size.hidden, size.hidden, batch_first=True)
        self.decoder = nn.LSTM(size.hidden, size.hidden, batch_first=True)

    def forward(self, past: Tensor, future: Tensor, codes: Tensor) -> Tensor:
        """(n, H, 2) log ratios."""
        before, ahead = self.ends.inputs(past, future, codes)
        _, state = self.encoder(before)
        return self.ends.ratios(self.decoder(ahead, state)[0], ahead)


class Transformer(nn.Module):
    """Attention over past weeks, then of the periods ahead over themselves and those weeks."""

    def __init__(self, size: NetworkSize) -> None:
        super().__init__()
        self.ends = _Ends(size)
        shape = {
            "d_model": size.hidden,
            "nhead": _HEADS,
            "dim_feedforward": 2 * size.hidden,
            "dropout": _DROPOUT,
            "activation": "gelu",
            "batch_first": True,
            "norm_first": True,
        }
        self.encoder = nn.TransformerEncoderLayer(**shape)
        self.decoder = nn.TransformerDecoderLayer(**shape)
        for part in self.modules():
            if isinstance(part, nn.MultiheadAttention):
                part.dropout = 0.0  # with it a CPU has no fused attention: a fifth slower

    def forward(self, past: Tensor, future: Tensor, codes: Tensor) -> Tensor:
        """(n, H, 2) log ratios."""
        before, ahead = self.ends.inputs(past, future, codes)
        weeks = before + _positions(before, first=-before.shape[1])
        periods = ahead + _positions(ahead, first=0)
        return self.ends.ratios(self.decoder(periods, self.encoder(weeks)), ahead)


def _positions(tokens: Tensor, *, first: int) -> Tensor:
    """Sines and cosines of each token's place, (length, hidden), any length."""
    length, width = tokens.shape[1], tokens.shape[2]
    place = torch.arange(first, first + length, device=tokens.device, dtype=torch.float32)
    rate = torch.exp(torch.arange(0, width, 2, device=tokens.device) * (-6.0 / width))
    angle = place[:, None] * rate[None, :]
    return torch.cat([torch.sin(angle), torch.cos(angle)], dim=1)[:, :width]


NETWORKS: dict[str, type[nn.Module]] = {"lstm": Lstm, "transformer": Transformer}
"""Network by forecaster name."""
