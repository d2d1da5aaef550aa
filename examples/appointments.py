"""What the appointment bot can do: a day's free times, and booking one. See appointments.toml.

An assistant of the phone names this file as its ``functions``. Real ones would ask a calendar;
these keep their bookings in memory and write them to ``appointments.json``.
"""

import json
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

BOOK = Path("appointments.json")
Day = Literal["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]
Time = Annotated[str, Meta(description="one of the free times, as free_times gave it")]
Name = Annotated[str, Meta(description="the caller's name, as they said it")]

OPEN = ("9:00", "10:00", "11:00", "14:00", "15:00")
booked: dict[str, dict[str, str]] = {}  # day -> time -> name


async def free_times(day: Day) -> list[str]:
    """Tells which appointments are free on a day."""
    return [time for time in OPEN if time not in booked.get(day, {})]


async def book_appointment(day: Day, time: Time, name: Name) -> dict[str, str]:
    """Books an appointment at a free time."""
    free = await free_times(day)
    if time not in free:
        return {"status": "not free", "free": ", ".join(free)}
    booked.setdefault(day, {})[time] = name
    BOOK.write_text(json.dumps(booked, indent=2))
    return {"status": "booked", "day": day, "time": time, "name": name}


FUNCTIONS = [free_times, book_appointment]
