"""The words about messages, enquiries, files and problems. One quotes what somebody wrote: the answer to an enquiry.

Told `from_name`, `path` and, where it matters, `count`.
"""

from control.language import t
from control.notices.kinds import NoticeKind
from control.notices.letters import Facts, InApp, Letter, Reader, Vocabulary, Words, told_name, told_path


def _new_message(facts: Facts, reader: Reader) -> Letter:
    words = t(
        "%(who)s has written to you. The message is in your inbox at %(practice_name)s.",
        who=told_name(facts),
        practice_name=reader.practice_name,
    )
    return Letter(t("You have a new message"), (words,), told_path(facts), t("Read it"))


def _new_enquiry(facts: Facts, _reader: Reader) -> Letter:
    words = t("%(who)s, who is not a member yet, would like to hear from you.", who=told_name(facts))
    return Letter(t("New customer enquiry"), (words,), told_path(facts), t("Read and answer"))


def _unanswered(facts: Facts, _reader: Reader) -> Letter:
    count = int(facts.get("count", 1))
    words = (
        t("A message is waiting for your answer.")
        if count == 1
        else t("%(count)s messages are waiting for your answer.", count=count)
    )
    return Letter(t("Messages are waiting for you"), (words,), told_path(facts), t("Open your inbox"))


def _enquiry_received(facts: Facts, reader: Reader) -> Letter:
    to = str(facts.get("practitioner_name") or reader.practice_name)
    return Letter(
        t("Welcome to %(practice_name)s", practice_name=reader.practice_name),
        (
            t(
                "Thank you for writing to %(to)s. One step is left: press the link to show that this address is yours.",
                to=to,
            ),
            t("Then your words are handed on, and you will receive a response via email. The link works for 3 days."),
            t("If you did not write to us, nothing needs to be done, and nothing is handed on."),
        ),
        link_words=t("Hand it on"),
    )


def _enquiry_answered(facts: Facts, reader: Reader) -> Letter:
    """The answer itself: who enquired has no account to read it in."""
    said = str(facts.get("text") or t("(The answer was taken out of this copy after sending.)"))
    how = (
        t("You can reply to this e-mail.")
        if facts.get("reply_to")
        else t("To reply, sign in with a link to this address.")
    )
    return Letter(
        t("Your enquiry at %(practice_name)s", practice_name=reader.practice_name),
        (t("%(who)s has answered your enquiry:", who=told_name(facts)), *said.split("\n\n"), how),
        f"/sign-in?next={told_path(facts)}",
        t("Read all of it"),
    )


def _file_shared(facts: Facts, _reader: Reader) -> Letter:
    words = t("%(who)s has shared a file with you. It is in your account.", who=told_name(facts))
    return Letter(t("A file was shared with you"), (words,), told_path(facts), t("See your files"))


def _problem_alert(facts: Facts, _reader: Reader) -> Letter:
    words = t("Somebody in a session has asked for help. Please look at once, and take it if nobody has.")
    return Letter(t("A problem was reported"), (words,), told_path(facts), t("See and take it"))


WORDS: Vocabulary = {
    NoticeKind.NEW_MESSAGE: Words(
        _new_message, lambda facts: InApp(t("New message"), told_name(facts), told_path(facts))
    ),
    NoticeKind.NEW_ENQUIRY: Words(_new_enquiry, lambda facts: InApp(t("New customer enquiry"), "", told_path(facts))),
    NoticeKind.UNANSWERED_MESSAGES: Words(
        _unanswered, lambda facts: InApp(t("Messages are waiting for your answer"), "", told_path(facts))
    ),
    NoticeKind.ENQUIRY_RECEIVED: Words(_enquiry_received),
    NoticeKind.ENQUIRY_ANSWERED: Words(_enquiry_answered),
    NoticeKind.FILE_SHARED: Words(
        _file_shared, lambda facts: InApp(t("A file was shared"), told_name(facts), told_path(facts))
    ),
    NoticeKind.PROBLEM_ALERT: Words(
        _problem_alert, lambda facts: InApp(t("A problem was reported"), t("Please look at once"), told_path(facts))
    ),
}
