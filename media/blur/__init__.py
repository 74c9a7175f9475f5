"""Background blur on the server: worker processes behind the packet core's frame port (DESIGN.md §5).

    engine ⇄ port.py ⇄ worker.py (a process) → stream.py → codec.py → segment.py → blend.py → codec.py
                       workers.py (the pool, in the server's process) starts, fills and replaces workers

Only workers.py is imported by the server's own process; the rest costs 200 MB of libraries and lives in the workers.
"""
