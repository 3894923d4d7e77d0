"""Cached engine calls, one file a room: plain numbers in, records out, no widget inside."""
