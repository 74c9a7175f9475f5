"""Who is taken to be speaking, with a manual clock."""

from media.speakers import SILENCE, Speakers
from media.types import ParticipantId

ANN, BOB = ParticipantId("ann"), ParticipantId("bob")


def active(levels: tuple[tuple[ParticipantId, int, bool], ...]) -> set[ParticipantId]:
    return {participant for participant, _, speaking in levels if speaking}


def test_a_cough_does_not_make_a_speaker_but_a_sentence_does() -> None:
    speakers = Speakers()
    assert active(speakers.hear([(ANN, 20, True)], 0.0)) == set()
    assert active(speakers.hear([(ANN, 20, True)], 0.2)) == set()
    assert active(speakers.hear([(ANN, 20, True)], 0.4)) == {ANN}


def test_a_pause_between_words_is_bridged_and_silence_ends_it() -> None:
    speakers = Speakers()
    for tenth in range(0, 6, 2):
        speakers.hear([(ANN, 20, True)], tenth / 10)
    assert active(speakers.hear([], 1.0)) == {ANN}
    assert active(speakers.hear([], 1.3)) == set()
    assert not speakers.active()


def test_noise_is_not_speech() -> None:
    speakers = Speakers()
    for tenth in range(0, 20, 2):
        speakers.hear([(ANN, 90, True), (BOB, 50, False)], tenth / 10)
    assert not speakers.active()


def test_a_loud_voice_counts_without_the_flag() -> None:
    speakers = Speakers()
    for tenth in range(0, 6, 2):
        speakers.hear([(ANN, 15, False)], tenth / 10)
    assert speakers.active()


def test_those_who_are_not_heard_are_reported_silent() -> None:
    speakers = Speakers()
    speakers.hear([(ANN, 20, True), (BOB, 30, True)], 0.0)
    assert speakers.hear([(BOB, 31, True)], 0.2) == ((ANN, SILENCE, False), (BOB, 31, False))


def test_whoever_began_most_recently_is_loudest_and_the_order_is_steady() -> None:
    speakers = Speakers()
    for tenth in range(0, 6, 2):
        speakers.hear([(ANN, 20, True)], tenth / 10)
    for tenth in range(6, 12, 2):
        speakers.hear([(ANN, 20, True), (BOB, 40, True)], tenth / 10)
    assert speakers.loudest() == (BOB, ANN)
    speakers.hear([(ANN, 5, True), (BOB, 50, True)], 1.4)
    assert speakers.loudest() == (BOB, ANN)


def test_a_person_who_left_is_forgotten() -> None:
    speakers = Speakers()
    speakers.hear([(ANN, 20, True)], 0.0)
    speakers.forget(ANN)
    assert speakers.loudest() == ()
    assert speakers.hear([], 0.2) == ()
