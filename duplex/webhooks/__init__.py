"""Tells other programs what happens in calls: signed requests, tried again until they are taken."""
