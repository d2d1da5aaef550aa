"""The vocoder: mel to samples by a neural source filter and a short inverse Fourier transform.

HiFTNet, arXiv 2309.09493: a pitch predictor drives a harmonic source; the source's spectrum joins
the upsampled mel at each of three stages; the last stage is a 16-point inverse STFT.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tts.token2wav.config import HiftConfig


def _conv(inputs: int, outputs: int, kernel: int, dilation: int = 1) -> nn.Conv1d:
    return nn.Conv1d(
        inputs, outputs, kernel, dilation=dilation, padding=(kernel - 1) * dilation // 2
    )


class F0Predictor(nn.Module):
    """Mel ``[B, mels, T]`` to pitch in Hz, ``[B, T]``."""

    def __init__(self, config: HiftConfig) -> None:
        super().__init__()
        sizes = [config.mels] + [config.f0_channels] * 5
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layers += [_conv(inputs, outputs, 3), nn.ELU()]
        self.condnet = nn.Sequential(*layers)
        self.classifier = nn.Linear(config.f0_channels, 1)

    def forward(self, mel: Tensor) -> Tensor:
        out: Tensor = self.classifier(self.condnet(mel).transpose(1, 2))
        return out.squeeze(-1).abs()


class Source(nn.Module):
    """Pitch to a harmonic excitation; the noise is the caller's, so that it can be repeated."""

    def __init__(self, config: HiftConfig) -> None:
        super().__init__()
        self.config = config
        self.l_linear = nn.Linear(config.harmonics + 1, 1)

    def forward(self, f0: Tensor, noise: Tensor) -> Tensor:
        """Excitation ``[B, 1, N]`` of ``f0 [B, T]``; ``noise [B, harmonics + 1, N]`` is normal.

        The phase is summed from frame to frame and drawn straight between their middles.
        """
        config, up = self.config, self.config.samples_per_frame
        harmonic = torch.arange(1, config.harmonics + 2, device=f0.device, dtype=f0.dtype)
        turns = (f0[:, None] * harmonic[:, None] / config.sample_rate) % 1  # [B, H, T] per sample
        phase = torch.cumsum(turns, dim=2) * (2 * math.pi) * up
        waves = torch.sin(F.interpolate(phase, scale_factor=float(up), mode="linear"))
        voiced = (f0 > config.voiced_hz).to(f0.dtype).repeat_interleave(up, dim=1)[:, None]
        loudness = voiced * config.noise_std + (1 - voiced) * (config.sine_amplitude / 3)
        waves = waves * config.sine_amplitude * voiced + loudness * noise
        merged: Tensor = self.l_linear(waves.transpose(1, 2))
        return torch.tanh(merged).transpose(1, 2)


class Snake(nn.Module):
    """x + sin^2(a x) / a (arXiv 2006.08195)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        alpha = self.alpha[:, None]
        return x + torch.sin(x * alpha) ** 2 / (alpha + 1e-9)


class ResBlock(nn.Module):
    """Pairs of convolutions, the first of each dilated, with residuals."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(_conv(channels, channels, kernel, d) for d in dilations)
        self.convs2 = nn.ModuleList(_conv(channels, channels, kernel) for _ in dilations)
        self.activations1 = nn.ModuleList(Snake(channels) for _ in dilations)
        self.activations2 = nn.ModuleList(Snake(channels) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        parts = zip(self.activations1, self.convs1, self.activations2, self.convs2, strict=True)
        for act1, conv1, act2, conv2 in parts:
            x = x + conv2(act2(conv1(act1(x))))
        return x


class Hift(nn.Module):
    """Weights only; names are those of the checkpoint with its weight norms multiplied out."""

    window: Tensor

    def __init__(self, config: HiftConfig) -> None:
        super().__init__()
        self.config = config
        self.m_source = Source(config)
        self.f0_predictor = F0Predictor(config)
        self.conv_pre = _conv(config.mels, config.channels, 7)
        bins = config.n_fft + 2  # real and imaginary parts of n_fft / 2 + 1
        widths = [config.channels >> stage for stage in range(len(config.up_rates) + 1)]
        self.ups, self.source_downs = nn.ModuleList(), nn.ModuleList()
        self.source_resblocks, self.resblocks = nn.ModuleList(), nn.ModuleList()
        for stage, (rate, kernel) in enumerate(
            zip(config.up_rates, config.up_kernels, strict=True)
        ):
            width = widths[stage + 1]
            self.ups.append(
                nn.ConvTranspose1d(widths[stage], width, kernel, rate, padding=(kernel - rate) // 2)
            )
            down = math.prod(config.up_rates[stage + 1 :])  # source frames per frame here
            self.source_downs.append(
                nn.Conv1d(bins, width, 1)
                if down == 1
                else nn.Conv1d(bins, width, 2 * down, down, padding=down // 2)
            )
            self.source_resblocks.append(
                ResBlock(width, config.source_kernels[stage], config.dilations)
            )
            for size in config.kernels:
                self.resblocks.append(ResBlock(width, size, config.dilations))
        self.conv_post = _conv(widths[-1], bins, 7)
        window = torch.hann_window(config.n_fft, periodic=True, dtype=torch.float64)
        self.register_buffer("window", window.float(), persistent=False)

    def forward(
        self, mel: Tensor, noise: Tensor, source_head: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Samples ``[B, N]`` in [-0.99, 0.99] and their source ``[B, 1, N]``, N = 480 * T.

        ``mel`` is ``[B, mels, T]``, ``noise`` normal ``[B, harmonics + 1, N]``. ``source_head``
        replaces the source's first samples, so that overlapping chunks share their excitation.
        """
        source = self.m_source(self.f0_predictor(mel), noise)
        if source_head is not None:
            source = torch.cat([source_head, source[:, :, source_head.shape[2] :]], dim=2)
        return self._filter(mel, source), source

    def _filter(self, x: Tensor, source: Tensor) -> Tensor:
        config, kernels = self.config, len(self.config.kernels)
        spectrum = torch.stft(
            source.squeeze(1), config.n_fft, config.hop, window=self.window, return_complex=True
        )
        excitation = torch.cat([spectrum.real, spectrum.imag], dim=1)
        x = self.conv_pre(x)
        for stage, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, config.slope))
            if stage == len(self.ups) - 1:
                x = F.pad(x, (1, 0), mode="reflect")  # the STFT has one frame more
            x = x + self.source_resblocks[stage](self.source_downs[stage](excitation))
            blocks = self.resblocks[stage * kernels : (stage + 1) * kernels]
            total = torch.zeros_like(x)
            for block in blocks:
                total = total + block(x)
            x = total / kernels
        x = self.conv_post(F.leaky_relu(x))
        half = config.n_fft // 2 + 1
        magnitude = torch.exp(x[:, :half]).clamp(max=100.0)
        phase = torch.sin(x[:, half:])
        samples = torch.istft(
            torch.polar(magnitude, phase), config.n_fft, config.hop, window=self.window
        )
        return samples.clamp(-config.limit, config.limit)
