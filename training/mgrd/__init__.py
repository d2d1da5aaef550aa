"""The ingredients of Modality-Grounded Reasoning Distillation (MGRD, Step-Audio-R1's report,
sections 3 and 4) in small: synthetic sounds, a frozen Whisper, a decoder of a few million weights,
and GRPO in place of PPO. See docs/training.md."""
