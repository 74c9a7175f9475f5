//! Fake participants for benchmarks; nothing of it runs in a server.
