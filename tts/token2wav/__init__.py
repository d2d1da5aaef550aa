"""Step-Audio's token2wav: audio codes to speech, as a stream.

Written from the published architecture (CosyVoice 2, arXiv 2412.10117; HiFTNet, arXiv 2309.09493)
and tested against the PyPI package ``stepaudio2-minicpmo``. Loads torch.
"""
