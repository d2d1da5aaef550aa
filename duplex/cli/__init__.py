"""The command ``duplex``: one module per subcommand."""
