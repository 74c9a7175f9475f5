"""Notices: what people are told, by e-mail and on their pages, and only about changes that were really stored."""
