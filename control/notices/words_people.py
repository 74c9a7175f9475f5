"""The words about an account: signing in, the welcome, what changed in it, codes that prove a number, one's data."""

from control.notices.kinds import NoticeKind
from control.notices.letters import Facts, InApp, Letter, Reader, Vocabulary, Words

_CHANGES = {
    "totp_added": "An authenticator app was added as your second step when signing in.",
    "totp_removed": "The authenticator app was removed from your account.",
    "passkey_added": "A passkey was added to your account.",
    "passkey_removed": "A passkey was removed from your account.",
    "recovery_codes_made": "New recovery codes were made. The earlier ones no longer work.",
    "recovery_code_used": "One of your recovery codes was used to sign in.",
    "password_set": "The password of your account was changed.",
    "phone_proven": "A telephone number was added to your account.",
    "token_made": "An app was given access to your account.",
}


def _sign_in_link(facts: Facts, reader: Reader) -> Letter:
    minutes = facts.get("minutes", 30)
    lasts = f"{minutes // 1440} days" if minutes >= 2880 else f"{minutes} minutes"
    if facts.get("invited"):
        opening = (
            f"You have been invited to {reader.practice_name}. With this link you confirm your address, sign in and "
            "set up your account."
        )
    elif facts.get("first"):
        opening = f"Welcome to {reader.practice_name}. With this link you confirm your address and sign in."
    else:
        opening = f"Here is your link to sign in to {reader.practice_name}."
    return Letter(
        f"Your sign-in link for {reader.practice_name}",
        (opening, f"It works once, within {lasts}. If you did not ask for it, nothing needs to be done."),
        link_words="Sign in",
    )


def _welcome(_facts: Facts, reader: Reader) -> Letter:
    return Letter(
        f"Welcome to {reader.practice_name}",
        (
            "Your address is confirmed and your account is ready.",
            "You can find a practitioner, book a session and see everything about your sessions in your account.",
        ),
        "/practitioners",
        "Find a practitioner",
    )


def _account_changed(facts: Facts, reader: Reader) -> Letter:
    return Letter(
        f"Your account at {reader.practice_name} was changed",
        (
            _CHANGES.get(str(facts.get("what")), "Something about how you sign in was changed."),
            "If that was you, nothing needs to be done. If it was not, sign out everywhere on your account page and "
            "write to us.",
        ),
        "/account/security",
        "See how you sign in",
    )


def _phone_code(facts: Facts, reader: Reader) -> str:
    code = facts.get("code", "(taken out)")
    return f"{code} is your code for {reader.practice_name}. It works for 10 minutes. We never ask you for it."


def _from(facts: Facts) -> str:
    return str(facts.get("from_name") or "Somebody")


def _path(facts: Facts) -> str:
    return str(facts.get("path") or "/account/data")


def _export_ready(facts: Facts, _reader: Reader) -> Letter:
    words = f"The copy of your data that you asked for is ready. It can be fetched for {facts.get('days', 7)} days."
    return Letter("The copy of your data is ready", (words,), _path(facts), "Fetch it")


def _notes_asked(facts: Facts, _reader: Reader) -> Letter:
    words = f"{_from(facts)} has asked for a copy of what you keep on them. You decide whether your notes are in it."
    return Letter("A client asks for your notes", (words,), _path(facts), "Open the client file")


def _notes_answered(facts: Facts, _reader: Reader) -> Letter:
    words = f"{_from(facts)} has answered whether you get a copy of their notes. You can read it in your account."
    return Letter("Your request was answered", (words,), _path(facts), "Read it")


WORDS: Vocabulary = {
    NoticeKind.EXPORT_READY: Words(
        _export_ready, lambda facts: InApp("The copy of your data is ready", "", _path(facts))
    ),
    NoticeKind.NOTES_ASKED: Words(
        _notes_asked, lambda facts: InApp("A client asks for your notes", _from(facts), _path(facts))
    ),
    NoticeKind.NOTES_ANSWERED: Words(
        _notes_answered, lambda facts: InApp("Your request was answered", _from(facts), _path(facts))
    ),
    NoticeKind.SIGN_IN_LINK: Words(_sign_in_link),
    NoticeKind.WELCOME: Words(_welcome),
    NoticeKind.ACCOUNT_CHANGED: Words(_account_changed),
    NoticeKind.PHONE_CODE: Words(sms=_phone_code),
}
