"""Carries the messages of the protocol and performs its effects: inline or on Ray."""
