"""Five functions, four questions about each, and what the function returns."""

import json
from dataclasses import dataclass
from typing import Any

from engine.types import Tool

Schema = dict[str, Any]

_SCHEMAS: dict[str, tuple[str, Schema]] = {
    "get_weather": (
        "The weather in a city now.",
        {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            },
            "required": ["city", "unit"],
        },
    ),
    "set_timer": (
        "Start a timer.",
        {
            "type": "object",
            "properties": {
                "minutes": {"type": "integer", "minimum": 1, "maximum": 600},
                "label": {"type": "string", "description": "What it is for."},
            },
            "required": ["minutes"],
        },
    ),
    "book_table": (
        "Book a table in the restaurant.",
        {
            "type": "object",
            "properties": {
                "date": {"type": "string", "format": "date"},
                "time": {"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$"},
                "people": {"type": "integer", "minimum": 1, "maximum": 12},
                "name": {"type": "string"},
            },
            "required": ["date", "time", "people", "name"],
            "additionalProperties": False,
        },
    ),
    "transfer": (
        "Transfer money to somebody.",
        {
            "type": "object",
            "properties": {
                "amount": {"type": "number", "exclusiveMinimum": 0},
                "currency": {"type": "string", "enum": ["EUR", "USD", "GBP"]},
                "to": {
                    "type": "object",
                    "properties": {"name": {"type": "string"}, "iban": {"type": "string"}},
                    "required": ["name"],
                },
            },
            "required": ["amount", "currency", "to"],
        },
    ),
    "search_items": (
        "Search the shop.",
        {
            "type": "object",
            "properties": {
                "query": {"type": "string"},
                "filters": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "field": {"type": "string", "enum": ["price", "colour", "size"]},
                            "value": {"type": ["string", "number"]},
                        },
                        "required": ["field", "value"],
                    },
                },
            },
            "required": ["query", "filters"],
        },
    ),
}
SCHEMAS = {name: schema for name, (_, schema) in _SCHEMAS.items()}
TOOLS = tuple(
    Tool(name, description, json.dumps(schema)) for name, (description, schema) in _SCHEMAS.items()
)


@dataclass(frozen=True, slots=True)
class Case:
    """A question, a good call for it, what that returns, and the words of which an answer has
    one."""

    question: str
    name: str
    arguments: Schema
    output: Schema
    wanted: tuple[str, ...]


def _weather(question: str, city: str, unit: str, degrees: int, sky: str) -> Case:
    return Case(
        question,
        "get_weather",
        {"city": city, "unit": unit},
        {"temperature": degrees, "unit": unit, "sky": sky},
        (str(degrees),),
    )


def _timer(question: str, minutes: int, label: str | None, ends: str) -> Case:
    arguments: Schema = {"minutes": minutes} | ({"label": label} if label else {})
    return Case(
        question,
        "set_timer",
        arguments,
        {"status": "running", "ends_at": ends},
        (ends.lstrip("0"),),
    )


def _table(question: str, when: tuple[str, str], people: int, name: str, code: str) -> Case:
    arguments = {"date": when[0], "time": when[1], "people": people, "name": name}
    output = {"status": "booked", "table": code}
    return Case(question, "book_table", arguments, output, (code,))


def _transfer(question: str, amount: float, currency: str, to: Schema, left: str) -> Case:
    arguments = {"amount": amount, "currency": currency, "to": to}
    return Case(question, "transfer", arguments, {"status": "done", "balance_left": left}, (left,))


def _search(question: str, query: str, filters: list[Schema], found: str, price: int) -> Case:
    output = {"items": [{"title": found, "price": price}]}
    return Case(
        question, "search_items", {"query": query, "filters": filters}, output, (str(price), found)
    )


CASES = (
    _weather("How is the weather in Paris, in celsius?", "Paris", "celsius", 31, "sunny"),
    _weather(
        "Is it cold in Oslo right now? In fahrenheit, please.", "Oslo", "fahrenheit", 17, "snow"
    ),
    _weather("What's the temperature in New York in celsius?", "New York", "celsius", 22, "cloudy"),
    _weather("Do I need an umbrella in London? Use celsius.", "London", "celsius", 12, "rain"),
    _timer("Set a timer for ten minutes.", 10, None, "14:35"),
    _timer("Remind me in 25 minutes to take the bread out.", 25, "take the bread out", "18:40"),
    _timer("Start a timer of half an hour, please.", 30, None, "09:15"),
    _timer("Can you time my eggs for six minutes?", 6, "eggs", "07:52"),
    _table(
        "I'd like a table for four on the third of May 2027 at seven in the evening. Miller.",
        ("2027-05-03", "19:00"),
        4,
        "Miller",
        "T12",
    ),
    _table(
        "Book me a table for two on 2027-01-20 at 18:30, my name is Anna.",
        ("2027-01-20", "18:30"),
        2,
        "Anna",
        "B7",
    ),
    _table(
        "We are six people and want to eat on June first, 2027, at noon. The name is Schmidt.",
        ("2027-06-01", "12:00"),
        6,
        "Schmidt",
        "C3",
    ),
    _table(
        "Reserve a table for Jones, eight people, 2027-12-24, 20:15.",
        ("2027-12-24", "20:15"),
        8,
        "Jones",
        "A1",
    ),
    _transfer("Send fifty euros to Peter.", 50, "EUR", {"name": "Peter"}, "812.40"),
    _transfer(
        "Transfer 1200 dollars to Maria Lopez, IBAN DE89370400440532013000.",
        1200,
        "USD",
        {"name": "Maria Lopez", "iban": "DE89370400440532013000"},
        "3455",
    ),
    _transfer(
        "Pay my landlord, Mr. Brown, 750 pounds.", 750, "GBP", {"name": "Mr. Brown"}, "96.10"
    ),
    _transfer("I owe Lisa 12.50 euros, please send it.", 12.5, "EUR", {"name": "Lisa"}, "240.75"),
    _search(
        "Find me red running shoes.",
        "running shoes",
        [{"field": "colour", "value": "red"}],
        "Sprint 3",
        89,
    ),
    _search(
        "I'm looking for a black coat in size 42.",
        "coat",
        [{"field": "colour", "value": "black"}, {"field": "size", "value": 42}],
        "Nordic",
        149,
    ),
    _search("Do you have headphones?", "headphones", [], "Aura", 59),
    _search(
        "Search for a desk that costs 200 at most.",
        "desk",
        [{"field": "price", "value": 200}],
        "Oak One",
        189,
    ),
)
