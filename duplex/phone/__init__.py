"""The telephone: a call of a provider of phone numbers is a session like any other."""
