"""What the appointment bot can do: tell a day's free times, and book one. See appointments.toml.

An assistant of the phone names this file as its ``functions``. Real ones would ask a calendar;
these keep their bookings in memory and write them to ``appointments.json``. They answer in
sentences to be spoken, and a booking may be asked for twice: a small model does both better.
"""

import json
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

BOOK = Path("appointments.json")
Day = Literal["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]
Time = Annotated[str, Meta(description="such as 9:00")]
Name = Annotated[str, Meta(description="the caller's name, as they said it")]

OPEN = ("9:00", "10:00", "11:00", "14:00", "15:00")
booked: dict[str, dict[str, str]] = {}  # day -> time -> name


async def free_times(day: Day) -> str:
    """Tells which appointments are free on a day."""
    free = [time for time in OPEN if time not in booked.get(day, {})]
    return f"On {day} there is {', '.join(free)}." if free else f"On {day} nothing is free."


async def book_appointment(day: Day, time: Time, name: Name) -> str:
    """Books an appointment."""
    hour = time.lstrip("0").partition(":")[0]
    time = f"{hour}:00"
    owner = booked.get(day, {}).get(time)
    if time not in OPEN or owner not in (None, name):
        return f"{day} at {time} is not free. {await free_times(day)}"
    booked.setdefault(day, {})[time] = name
    BOOK.write_text(json.dumps(booked, indent=2))
    return f"It is booked: {name}, {day} at {time}."


FUNCTIONS = [free_times, book_appointment]
