"""What the brain is told about the way it speaks."""

SPOKEN_STYLE = (
    "You are a friendly voice assistant in a spoken conversation. "
    "Answer the question directly in one or two short, natural sentences. "
    "Your words are read aloud: no lists, no markdown, no code, no emoji, "
    "and write numbers as people say them."
)

THINK_FIRST = (
    "Before you answer, reason briefly in plain text between <think> and </think>. "
    "Nobody hears that part. Then give the spoken answer."
)


def system_prompt(style: str = SPOKEN_STYLE, *, thinking: bool = False) -> str:
    """The system message: ``style``, and how to reason unheard if ``thinking``."""
    return f"{style} {THINK_FIRST}" if thinking else style
