"""What a caller said over a reply: an interruption, a backchannel, or a wish to hear the rest.

The words are for English.
"""

import re

# Longer than this, it is no backchannel, whatever its words.
_LONGEST_BACKCHANNEL_MS = 1500
# Up to here the sound may say so too, if it is as sure as that, against words that are not among
# the unmistakable: what was heard of a short utterance is often wrong (decision record 0006).
_LONGEST_BY_SOUND_MS = 1200
SURELY_FALSE = 0.7
_UNMISTAKABLE = re.compile(
    r"\b(?:stop|wait|no|nope|not|never|hold|hang|pause|quiet|shut|enough|cancel|skip|back|again"
    r"|what|what's|why|who|when|where|which|how|sorry|pardon|excuse|hey|hello|bye|listen|actually"
    r"|but|please|thanks|thank|tell|show|give|repeat|moment|minute|second|question|too|instead)\b"
    r"|^(?:can|could|would|will|may|is|are|do|does|did)\b"
)
_HUMMED = (
    "mm hmm|mm hm|mhm|mmhmm|mm|mmm|hm|hmm|hmmm|m hm|mm mm|uh huh|uhhuh|um hum|um hmm|huh|uh|um|ah"
    "|aha|oh|ooh|wow|eh|er|erm"
)
_AGREED = (
    "oh wow|yeah|yea|yep|yup|ya|yes|okay|ok|k|right|all right|alright|sure|i see|i know"
    "|i understand|got it|gotcha|of course|exactly|true|that's right|that's true|makes sense"
    "|that makes sense|cool|nice|great|good|fine|interesting|really|oh really|absolutely"
    "|definitely|indeed|totally|ha|haha|hah|hehe|heh|hahaha|lol|you"
)
_HUMS = frozenset(phrase for phrase in _HUMMED.split("|"))
_PHRASES = _HUMS | frozenset(phrase for phrase in _AGREED.split("|"))
_LONGEST_PHRASE = max(len(phrase.split()) for phrase in _PHRASES)
# What Whisper writes for sounds: "(laughing)", "[cough]", "*sigh*", and music signs.
_SOUND = re.compile(r"\([^)]*\)|\[[^\]]*\]|\*[^*]*\*|[♪♫]")
_LAUGH = re.compile(r"(?:ha|he|ho|hee|ah|eh|hah|heh){2,}h?|ha|hah|heh")
_STUTTER = re.compile(r"([a-z])(?: \1)+")  # "T-T-T-T"
_ASKED = re.compile(r"\?[^\w\s]*(?:\s+\S+){0,2}\s*$")
_GO_ON = re.compile(
    r"(?:(?:oh|sorry|no|yes|yeah|okay|ok|please|and|so|just|you can|could you|can you|then|well) )*"
    r"(?:go on|go ahead|carry on|keep going|keep talking|continue|please do|tell me more"
    r"|what were you saying|you were saying|(?:don't|do not) stop|finish(?: that| it)?)"
    r"(?: (?:please|then|now|sorry|with (?:that|it|what you were saying)|what you were saying))*"
)


def is_false_interruption(
    words: str, speech_ms: int, sounds_false: float | None = None, *, is_asked: bool = False
) -> bool:
    """Whether words over a reply leave the reply its turn.

    Args:
        words: the exact transcript of what was said over it; "" if nothing was understood.
        speech_ms: how long it was.
        sounds_false: what `InterruptionJudge.sounds_false` says of it.
        is_asked: the reply had just asked something: "yes" is for it then. See `has_asked`.
    """
    said = _normal(_SOUND.sub(" ", words))
    if not said or _STUTTER.fullmatch(said) or all(map(_LAUGH.fullmatch, said.split())):
        return True
    if is_asked:
        return False
    if speech_ms <= _LONGEST_BACKCHANNEL_MS and _only(_PHRASES, said.split()):
        return True
    is_short = speech_ms <= _LONGEST_BY_SOUND_MS and not _UNMISTAKABLE.search(said)
    return is_short and sounds_false is not None and sounds_false >= SURELY_FALSE


def is_hum(words: str) -> bool:
    """Whether nothing was said but "mm-hm", "oh" and the like, which ask for no answer."""
    return _only(_HUMS, _normal(words).split())


def has_asked(heard: str) -> bool:
    """Whether what was heard of a reply ends in a question, or was two words past one."""
    return _ASKED.search(heard) is not None


def asks_to_go_on(words: str) -> bool:
    """Whether the caller asks for the rest of a reply: "go on", "sorry, please continue"."""
    return _GO_ON.fullmatch(_normal(words)) is not None


def _normal(words: str) -> str:
    """Lower case, without marks other than apostrophes, single spaces."""
    return " ".join(re.findall(r"[a-z0-9']+", words.lower().replace("’", "'")))


def _only(phrases: frozenset[str], words: list[str]) -> bool:
    while words:
        for count in range(min(_LONGEST_PHRASE, len(words)), 0, -1):
            phrase = " ".join(words[:count])
            if phrase in phrases or (count == 1 and _LAUGH.fullmatch(phrase)):
                words = words[count:]
                break
        else:
            return False
    return True
