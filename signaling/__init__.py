"""Signaling: one WebSocket per participant, between the pages and the media node. PROTOCOL.md is the contract."""
