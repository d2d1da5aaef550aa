"""Add a brain: it repeats what the caller says. Ear, voice and turn-taking are the default ones.

python examples/own_brain.py
"""

from duplex import Config, Finished, Server


class Parrot:  # the methods of duplex.Brain and, since it keeps nothing, of its sessions
    context_tokens = 4096

    def open(self):
        return self

    def close(self): ...

    async def prefill(self, messages, partial=None): ...

    async def generate(self, messages, options):
        yield f"You said: {messages[-1].text}"
        yield Finished("stop", 0, 0, 0)


if __name__ == "__main__":
    Server(Config(), brain=Parrot()).run()
