"""Providers of phone numbers: their message formats, signatures and webhooks."""
