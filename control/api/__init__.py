"""The JSON API: one file per business noun, each with `routes`. Handlers read, call one action, answer."""
