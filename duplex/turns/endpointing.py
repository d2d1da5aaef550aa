"""When a caller's turn is over: how long a silence must last, judged by what was said before it.

A pure policy. `TurnDetector` asks again whenever what it knows has changed. It ends the turn when
`SpeechDetector.silence_samples` has reached the length returned. The rules on words are for
English; words of another language are judged by their punctuation. How the turn sounds is judged
by a network elsewhere (`engine/ear/smart_turn.py`).
"""

import math
import re
from dataclasses import dataclass
from typing import Literal

from duplex.turns.dictation import is_dictating

Eagerness = Literal["low", "medium", "high", "auto"]
_COMMA_MS = 150
# Where the sound is known: what is added to the shortest wait. Decision records 0080 and 0134 say
# how these were chosen, and what they give.
_UNSURE_MS = 10  # at even odds
_SOONER_MS = 100  # a sure end is awaited so much less
_SOUND_MS = 110  # less for each log odd of the sound
_UNFINISHED_MS = 600  # words that call for more
_STORY_MS = 300  # several sentences: who has said two may well say a third
_TOLD_MS = 850  # a few words or several sentences that ask nothing: mostly there is more
_REPLIED_MS = 400  # a few words to what the assistant has just asked
_LIMIT = 2.0  # log odds; the network is not believed to be surer
_BRIEF_WORDS = 8
_ANSWER_WORDS = 3  # so many answer a question; nobody puts a mark behind them
_HAN = "\u2e80"  # from here on letters are words, which are not counted


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """Silence that ends a turn: when it is surely finished, and when it surely is not.

    Decision records 0002 and 0080 compare the defaults with other policies.
    """

    finished_ms: int = 300
    unfinished_ms: int = 1000

    def __post_init__(self) -> None:
        if not 0 < self.finished_ms <= self.unfinished_ms:
            raise ValueError(
                "0 < finished_ms <= unfinished_ms must hold, "
                f"got {self.finished_ms} and {self.unfinished_ms}"
            )


@dataclass(frozen=True, slots=True)
class PauseSigns:
    """What is known at a pause.

    Args:
        words: the turn's, up to the pause. None while the ear is not ready: the reply could not
            begin yet, so waiting costs nothing. "" if it heard no words.
        completeness: the probability that the turn is over by its sound. None while that is not
            known, or if nothing listens for it.
        is_asked: the assistant has just asked something.
    """

    words: str | None = None
    completeness: float | None = None
    is_asked: bool = False


def silence_to_end_ms(signs: PauseSigns, config: EndpointConfig) -> int:
    """The silence, in ms, after which the turn is over.

    By the words alone it is one of the two of ``config``. Where the sound is known too, it is
    anything from a little less than the first to the second. In speech, the pauses that last longer
    than w are a share of about exp(-w / T); then the best wait falls with the log odds that the
    turn is over, and all that is known adds to it.

    Who asks is answered soon. A few words that ask nothing are often the beginning of more, less
    often if they answer the assistant; and a story goes on.
    """
    words = signs.words
    if words is None or is_dictating(words):
        return config.unfinished_ms
    count = len(words.split())
    is_answer = signs.is_asked and count <= _ANSWER_WORDS
    is_unfinished = ends_openly(words) if is_answer else looks_unfinished(words)
    if signs.completeness is None:
        return config.unfinished_ms if is_unfinished else config.finished_ms
    least = 1 / (1 + math.exp(_LIMIT))
    p = min(max(signs.completeness, least), 1 - least)
    added_ms = _UNSURE_MS - _SOUND_MS * math.log(p / (1 - p))
    is_story = _SENTENCE_END.search(words.strip()) is not None
    is_brief = 0 < count <= _BRIEF_WORDS and max(words) < _HAN and not is_answer
    if is_unfinished:
        added_ms += _UNFINISHED_MS
    elif (is_brief or is_story) and not _QUESTION.search(words):
        added_ms += _REPLIED_MS if signs.is_asked and not is_story else _TOLD_MS
    if is_story:
        added_ms += _STORY_MS
    shortest_ms = max(1, config.finished_ms - _SOONER_MS)
    return round(min(max(config.finished_ms + added_ms, shortest_ms), config.unfinished_ms))


def resuming_ms(is_hum: bool, config: EndpointConfig) -> int:
    """The silence, in ms, after which a reply that was not meant to be interrupted goes on.

    Args:
        is_hum: nothing was said but "mm-hm" and the like, or nothing at all. Other words of assent
            may lead up to an objection, "Okay, that is enough.", so they are followed for longer.
    """
    return config.finished_ms if is_hum else config.finished_ms + _COMMA_MS


def from_silence_duration(silence_duration_ms: int, default: EndpointConfig) -> EndpointConfig:
    """The policy for a client's server_vad ``silence_duration_ms``: its value where the words
    are finished, and as much longer where not as by ``default``."""
    finished_ms = max(1, silence_duration_ms)
    return EndpointConfig(finished_ms, finished_ms + default.unfinished_ms - default.finished_ms)


def from_eagerness(eagerness: Eagerness) -> EndpointConfig:
    """The policy for a client's semantic_vad, within OpenAI's 8, 4 and 2 s."""
    return _EAGERNESS[eagerness]


_EAGERNESS = {
    "low": EndpointConfig(finished_ms=600, unfinished_ms=3000),
    "medium": EndpointConfig(),
    "auto": EndpointConfig(),
    "high": EndpointConfig(finished_ms=200, unfinished_ms=600),
}


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Nothing that is finished ends in one of these, whatever mark Whisper puts behind it.
_NEVER_LAST = _words(
    "a an the my your our their its every and or but nor because unless until whether than"
    " although though whereas if"
    " um uh uhm umm er erm hmm"
    " i'm you're we're they're it's he's she's that's there's what's where's i'll you'll we'll"
    " they'll it'll i've we've they've i'd we'd they'd let's gonna wanna"
    " i we he she they"
)
# These are last only in a question of this kind: "Which team did she play for?"
_PREPOSITIONS = _words("of for from with at to into onto between about like by via than")
_QUESTION_WORDS = _words("what which who whom whose where when how why")
# After these more of a question comes, if it began with an auxiliary.
_LEADING_QUESTION_WORDS = _QUESTION_WORDS - _words("why")
# These lead up to something when they are all that was said.
_OPENERS = _words("so well now then also anyway actually basically like maybe because hello hi hey")
_OPEN_ENDINGS = (
    "you know",
    "i mean",
    "i think",
    "i think that",
    "i guess",
    "i need",
    "i want",
    "tell me",
    "could you please",
    "can you please",
    "let me see",
    "let me think",
    "first of all",
    "for example",
    "such as",
    "and then",
)
_JOINING = _words("and but or so")  # before a sentence, they change nothing about its end
_SUBORDINATORS = _words("because if when while before after since although though unless once as")
_AUXILIARIES = _words(
    "is are was were am do does did has have had can could will would should may might must shall"
)
_FINISHED_MARKS = ".?!"
# A last sentence that asks, by its mark (also the Greek and the Arabic one) or by its beginning:
# small ears write "Who wrote the play."
_QUESTION = re.compile(
    r"[?;\u061f]\s*$"
    r"|(?:^|[.?!]\s)\s*(?:(?:and|so|in|on|at|to|for|from|of|with|by) )?"
    r"(?:what|which|who|whom|whose|where|when|why|how)\b[^.?!]*[.!]?\s*$",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.?!]\s")  # and something after it


def looks_unfinished(transcript: str) -> bool:
    """Whether the words so far call for more.

    Unfinished is: no full stop, question or exclamation mark at the end of two words or more, or
    three dots (Whisper writes so what trails off); or what `ends_openly` finds. Whisper leaves the
    mark of a single word out, so that it says nothing there.
    """
    text = transcript.strip()
    if not text:
        return False
    is_marked = text[-1] in _FINISHED_MARKS and not text.endswith("..")
    return not (is_marked or text.isalnum()) or ends_openly(text)


def ends_openly(transcript: str) -> bool:
    """Whether the last words call for more, whatever mark stands behind them: a last word that
    cannot be last, such as an article, a conjunction or a filler; an opener or a subordinate clause
    with nothing after it; a dictation that goes on."""
    text = transcript.strip().lower().replace("’", "'")
    if not text:
        return False
    sentence = re.split(r"(?<=[.?!])\s+", text)[-1]
    words = re.findall(r"[a-z0-9']+", sentence)
    if len(words) > 1 and words[0] in _JOINING:
        words = words[1:]
    if not words:
        return False
    if words[-1] in _NEVER_LAST or " ".join(words).endswith(_OPEN_ENDINGS):
        return True
    if words[-1] in _PREPOSITIONS and not (words[0] in _QUESTION_WORDS and text[-1] == "?"):
        return True
    return is_dictating(transcript) or _only_leads_up(words, sentence)


def _only_leads_up(words: list[str], sentence: str) -> bool:
    """Whether a sentence, given also as its words, is an opener or a subordinate clause alone, or
    stops before what its last words lead up to: "the capital of", "could you explain what"."""
    if len(words) == 1:
        return words[0] in _OPENERS
    if words[-1] == "of" and words[-3:-2] == ["the"]:
        return True
    if words[-1] in _LEADING_QUESTION_WORDS and words[0] in _AUXILIARIES:
        return True
    return (
        words[0] in _SUBORDINATORS
        and words[1] not in _AUXILIARIES
        and "," not in sentence
        and not sentence.endswith("?")
    )
