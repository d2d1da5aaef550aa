"""Writes the answers of a model that makes its own speech (ta4) for its later turns."""

from collections.abc import Sequence

from tokenizers import Tokenizer

from engine.brain.chat_format import ChatFormat, Renderer
from engine.brain.token_log import common_prefix
from engine.native.model.ta4 import CODES_PER_GROUP as CODES_PER_TOKEN
from engine.native.model.ta4 import Codes, SpokenId, Ta4Ids, Ta4Parser, interleave


class Ta4Renderer(Renderer):
    """Writes an answer as its ta4 block, followed by its plain text."""

    def __init__(self, tokenizer: Tokenizer, chat_format: ChatFormat, ids: Ta4Ids) -> None:
        super().__init__(tokenizer, chat_format)
        self._ta4 = ids

    def answer(self, text: str, generated: Sequence[int]) -> list[int]:
        """Ids of ``text``, the part of the answer ``generated`` that the caller heard.

        The block holds text and codes as far as the generated ids are those of the text.
        """
        words, codes = self._said(generated)
        kept = common_prefix(super().answer(text, words), words)
        if not kept:
            return super().answer(text, ())
        block = interleave(self._ta4, words[:kept], codes[: CODES_PER_TOKEN * kept])
        return [*block, *self.plain(text)]

    def _said(self, generated: Sequence[int]) -> tuple[list[int], list[int]]:
        """The text ids and the codes of the answer that ``generated`` begins with."""
        parser = Ta4Parser(self._ta4, inside=True)
        words: list[int] = []
        codes: list[int] = []
        for token in generated:
            if token in self.stop_ids:
                break
            for event in parser.feed(token):
                if isinstance(event, SpokenId):
                    words.append(event.token)
                elif isinstance(event, Codes):
                    codes += event.codes
        return words, codes
