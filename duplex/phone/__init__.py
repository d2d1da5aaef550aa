"""The telephone: calls of phone providers and of SIP phones, as sessions like any other."""
