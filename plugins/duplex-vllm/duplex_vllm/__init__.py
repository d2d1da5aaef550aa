"""Step-Audio-2 and Step-Audio-R1 as models of vLLM. It finds `register` by its entry point."""

from pathlib import Path

CHAT_TEMPLATE = Path(__file__).with_name("step_audio.jinja")
MODEL = "duplex_vllm.model:StepAudio2ForCausalLM"
# As the two forms of config.json name it: with sections, and flat.
ARCHITECTURES = ("StepAudio2ForCausalLM", "StepAudioForCausalLMV2")


def register() -> None:
    """Tell vLLM and transformers about the model. vLLM calls this in each of its processes, in
    some more than once. The model's own module is imported when a checkpoint asks for it."""
    from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerFast
    from vllm import ModelRegistry
    from vllm.transformers_utils.chat_templates.registry import (
        get_chat_template_fallback_path,
        register_chat_template_fallback_path,
    )

    from duplex_vllm.config import FlatStepAudio2Config, StepAudio2Config

    for config in (StepAudio2Config, FlatStepAudio2Config):
        kind = config.model_type
        AutoConfig.register(kind, config, exist_ok=True)
        AutoTokenizer.register(config, fast_tokenizer_class=PreTrainedTokenizerFast, exist_ok=True)
        if get_chat_template_fallback_path(kind, "") != CHAT_TEMPLATE:
            register_chat_template_fallback_path(kind, CHAT_TEMPLATE)
    known = ModelRegistry.get_supported_archs()
    for architecture in ARCHITECTURES:
        if architecture not in known:
            ModelRegistry.register_model(architecture, MODEL)
