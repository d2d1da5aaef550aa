"""Who may speak when: protocol, turn-taking, session, server. Importing it loads no model code."""
