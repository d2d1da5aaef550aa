"""An address may name an assistant of the configuration, whatever the call comes over."""

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from duplex.config import AssistantConfig, Config, ServerConfig
from tests._support.servers import running_server
from tests._support.wire import until

DENTIST = AssistantConfig(instructions="You answer for a dentist.", greeting="Doctor Ng here.")
CONFIG = Config(server=ServerConfig(port=0), assistants={"dentist": DENTIST})


async def test_the_session_is_the_assistants() -> None:
    async with running_server(CONFIG) as running:
        async with connect(f"{running.url}?assistant=dentist") as connection:
            session = (await until(connection, "session.created"))["session"]
            assert session["instructions"] == DENTIST.instructions
            assert session["duplex"]["greeting"] == DENTIST.greeting
        async with connect(running.url) as connection:
            session = (await until(connection, "session.created"))["session"]
            assert session["instructions"] != DENTIST.instructions


async def test_one_that_is_not_there_is_refused_by_name() -> None:
    async with running_server(CONFIG) as running:
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"{running.url}?assistant=plumber")
        assert refused.value.response.status_code == 400
        assert b"'plumber'; known are: dentist" in refused.value.response.body
