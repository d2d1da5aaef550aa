"""The rules on dictionaries of a few words; the network stands in with random weights."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tts.g2p.g2p import G2P, GOLD_FILE, NETWORK_FILE, SILVER_FILE
from tts.g2p.ipa import from_arpabet, from_misaki
from tts.g2p.lexicon import Lexicon
from tts.g2p.neural import MAX_PHONES, NeuralG2P

GOLD = {
    "apple": "ˈæpᵊl", "cat": "kˈæt", "dog": "dˈɔɡ", "bus": "bˈʌs", "city": "sˈɪɾi", "walk": "wˈɔk",
    "want": "wˈɑnt", "wait": "wˈAt", "stop": "stˈɑp", "make": "mˈAk", "happy": "hˈæpi",
    "play": "plˈA", "Paris": "pˈɛɹəs", "book": "bˈʊk", "store": "stˈɔɹ", "bird": "bˈɜɹd",
    "read": {"DEFAULT": "ɹˈid", "VBN": "ɹˈɛd"}, "live": {"DEFAULT": "lˈIv", "VERB": "lˈɪv"},
    "use": {"DEFAULT": "jˈuz", "NOUN": "jˈus"}, "there": {"DEFAULT": "ðɛɹ", "None": "ðˈɛɹ"},
    "B": "bˈi", "F": "ˈɛf", "I": "ˈI", "X": "ˈɛks", "tensor": "tˈɛnsəɹ", "flow": "flˈO",
}  # fmt: skip
SILVER = {"zebra": "zˈibɹə", "cat": "wrong"}


def write_network(path: Path) -> None:
    rng = np.random.default_rng(3)
    shapes = {"fc_w": (74, 8), "fc_b": (74,)}
    for net, rows in (("enc", 29), ("dec", 74)):
        shapes |= {f"{net}_emb": (rows, 6), f"{net}_w_ih": (24, 6), f"{net}_w_hh": (24, 8)}
        shapes |= {f"{net}_b_ih": (24,), f"{net}_b_hh": (24,)}
    arrays: dict[str, Any] = {
        k: rng.standard_normal(s).astype(np.float32) for k, s in shapes.items()
    }
    np.savez(path, **arrays)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("g2p")
    (path / GOLD_FILE).write_text(json.dumps(GOLD), encoding="utf-8")
    (path / SILVER_FILE).write_text(json.dumps(SILVER), encoding="utf-8")
    write_network(path / NETWORK_FILE)
    return path


@pytest.fixture(scope="module")
def g2p(directory: Path) -> G2P:
    return G2P(directory)


@pytest.fixture(scope="module")
def lexicon(directory: Path) -> Lexicon:
    return Lexicon(directory / GOLD_FILE, directory / SILVER_FILE)


@pytest.mark.parametrize(
    ("word", "phones"),
    [
        ("cat", "kˈæt"),  # gold before silver
        ("zebra", "zˈibɹə"),
        ("CAT", "kˈæt"),
        ("paris", "pˈɛɹəs"),
        ("cats", "kˈæts"),
        ("dogs", "dˈɔɡz"),
        ("buses", "bˈʌsᵻz"),
        ("cities", "sˈɪɾiz"),
        ("cat's", "kˈæts"),
        ("dogs'", "dˈɔɡz"),
        ("walked", "wˈɔkt"),
        ("played", "plˈAd"),
        ("wanted", "wˈɑntᵻd"),
        ("waiting", "wˈAɾɪŋ"),
        ("stopped", "stˈɑpt"),
        ("making", "mˈAkɪŋ"),
        ("unhappy", "ʌnhˈæpi"),
        ("happily", "hˈæpili"),
        ("playful", "plˈAfᵊl"),
        ("bookstore", "bˈʊkstˌɔɹ"),
        ("xyzzy", None),
        ("s", None),
        ("", None),
    ],
)
def test_lexicon(lexicon: Lexicon, word: str, phones: str | None) -> None:
    assert lexicon.lookup(word) == phones


@pytest.mark.parametrize(
    ("word", "before", "final", "phones"),
    [
        ("read", "to", False, "ɹˈid"),
        ("read", "have", False, "ɹˈɛd"),
        ("live", "", False, "lˈIv"),
        ("live", "we", False, "lˈɪv"),
        ("lives", "she", False, "lˈɪvz"),
        ("use", "to", False, "jˈuz"),
        ("use", "the", False, "jˈus"),
        ("there", "", False, "ðɛɹ"),
        ("there", "", True, "ðˈɛɹ"),
    ],
)
def test_heteronyms(lexicon: Lexicon, word: str, before: str, final: bool, phones: str) -> None:
    assert lexicon.lookup(word, before, final=final) == phones


@given(st.text())
def test_lexicon_takes_any_word(lexicon: Lexicon, word: str) -> None:
    assert lexicon.lookup(word) != ""


@pytest.mark.parametrize(
    ("misaki", "ipa"),
    [
        ("ˈæpᵊl", "ˈæpəl"),
        ("bˈɜɹd", "bˈɜːd"),
        ("hˈɜɹi", "hˈɜːɹi"),
        ("bˈɛɾəɹ", "bˈɛɾɚ"),
        ("mˈɛməɹi", "mˈɛmɚɹi"),
        ("əɹˈWnd", "ɚɹˈaʊnd"),
        ("əbˈWt", "ɐbˈaʊt"),
        ("sˈi", "sˈiː"),
        ("hˈæpi", "hˈæpi"),
        ("fˈud", "fˈuːd"),
        ("ɡˈO", "ɡˈoʊ"),
        ("bˈY", "bˈɔɪ"),
        ("lˈɔ", "lˈɔː"),
        ("ʤˈʌʤ", "dʒˈʌdʒ"),
        ("bˈʌʔn", "bˈʌʔn̩"),
    ],
)
def test_misaki_to_ipa(misaki: str, ipa: str) -> None:
    assert from_misaki(misaki) == ipa


def test_arpabet_to_ipa() -> None:
    assert from_arpabet(["HH", "AH0", "L", "OW1"]) == "həlˈoʊ"
    assert from_arpabet(["B", "ER1", "D"]) == "bˈɜːd"
    assert from_arpabet(["B", "EH1", "T", "ER0"]) == "bˈɛtɚ"
    with pytest.raises(ValueError, match="QQ"):
        from_arpabet(["QQ"])


@pytest.mark.parametrize(
    ("spoken", "sounds"),
    [
        (["the cat,", "the apple."], ["ðə kˈæt,", "ðɪ ˈæpəl."]),
        (["the", "apple"], ["ðɪ", "ˈæpəl"]),  # across tokens
        (["to Paris"], ["tə pˈɛɹəs"]),
        (["F.B.I", "F.B.I's"], ["ˌɛfbˌiːˈaɪ", "ˌɛfbˌiːˈaɪz"]),
        (["X"], ["ˈɛks"]),
        (["TensorFlow", "CatDog"], ["tˈɛnsɚflˌoʊ", "kˈætdˈɔːɡ"]),
        (["there,", "there is"], ["ðˈɛɹ,", "ðɛɹ ɪz"]),
        (["", ",", "日本", "42"], ["", ",", "", ""]),
        ([], []),
        (["cat’s"], ["kˈæts"]),
        (["Zébra"], ["zˈiːbɹə"]),
    ],
)
def test_sentences(g2p: G2P, spoken: list[str], sounds: list[str]) -> None:
    assert g2p(spoken) == sounds


@given(st.lists(st.text(max_size=20), max_size=5))
def test_one_answer_for_each_item(g2p: G2P, spoken: list[str]) -> None:
    assert len(g2p(spoken)) == len(spoken)


def test_unknown_words_go_to_the_network(g2p: G2P, directory: Path) -> None:
    network = NeuralG2P(directory / NETWORK_FILE)
    assert g2p(["Xyzzy"]) == [from_arpabet(network("xyzzy"))]
    assert 0 < len(network("xyzzy")) <= MAX_PHONES


def test_network_steps_as_the_gru_equations_say(directory: Path) -> None:
    network = NeuralG2P(directory / NETWORK_FILE)
    w = {k: v.astype(np.float64) for k, v in np.load(directory / NETWORK_FILE).items()}
    x, h = w["enc_emb"][5], np.linspace(-1, 1, 8)
    wi, wh = w["enc_w_ih"].reshape(3, 8, 6), w["enc_w_hh"].reshape(3, 8, 8)
    bi, bh = w["enc_b_ih"].reshape(3, 8), w["enc_b_hh"].reshape(3, 8)
    r = 1 / (1 + np.exp(-(wi[0] @ x + bi[0] + wh[0] @ h + bh[0])))
    z = 1 / (1 + np.exp(-(wi[1] @ x + bi[1] + wh[1] @ h + bh[1])))
    n = np.tanh(wi[2] @ x + bi[2] + r * (wh[2] @ h + bh[2]))
    np.testing.assert_allclose(
        network._step("enc", 5, h.astype(np.float32)), (1 - z) * n + z * h, rtol=1e-4, atol=1e-6
    )


def test_network_refuses_other_weights(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", fc_w=np.zeros((5, 8), np.float32))
    with pytest.raises(ValueError, match="g2p_en"):
        NeuralG2P(tmp_path / "other.npz")


def test_lexicon_refuses_other_json(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(ValueError, match="dictionary"):
        Lexicon(tmp_path / "list.json", tmp_path / "list.json")
