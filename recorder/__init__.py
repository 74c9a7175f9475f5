"""Recording: taps into a sealed journal, and the journal into files a page can play.

    media (tap) ─▶ journal on disk ─▶ worker process: order, align, remux ─▶ encrypted files and their manifest

`recorder.Recorder` is what control sees. Imports media only; owns disk, not the database; decides nothing about
consent.
"""
