"""Holdspace's SFU: rooms, negotiation and DTLS in Python over the native packet core (`media/_forwarder`)."""
