"""The words about an account: signing in, the welcome, what changed in it, codes that prove a number, one's data."""

from control.language import N_, look_up, t
from control.notices.kinds import NoticeKind
from control.notices.letters import Facts, InApp, Letter, Reader, Vocabulary, Words, told_name, told_path

_CHANGES = {
    "totp_added": N_("An authenticator app was added as your second step when signing in."),
    "totp_removed": N_("The authenticator app was removed from your account."),
    "passkey_added": N_("A passkey was added to your account."),
    "passkey_removed": N_("A passkey was removed from your account."),
    "recovery_codes_made": N_("New recovery codes were made. The earlier ones no longer work."),
    "recovery_code_used": N_("One of your recovery codes was used to sign in."),
    "password_set": N_("The password of your account was changed."),
    "phone_proven": N_("A telephone number was added to your account."),
    "token_made": N_("An app was given access to your account."),
}


def _sign_in_link(facts: Facts, reader: Reader) -> Letter:
    minutes = facts.get("minutes", 30)
    lasts = (
        t("%(minutes)s days", minutes=minutes // 1440) if minutes >= 2880 else t("%(minutes)s minutes", minutes=minutes)
    )
    if facts.get("invited"):
        opening = t(
            "You have been invited to %(practice_name)s. With this link you confirm your "
            "address, sign in and set up your account.",
            practice_name=reader.practice_name,
        )
    elif facts.get("first"):
        opening = t(
            "Welcome to %(practice_name)s. With this link you confirm your address and sign in.",
            practice_name=reader.practice_name,
        )
    else:
        opening = t("Here is your link to sign in to %(practice_name)s.", practice_name=reader.practice_name)
    return Letter(
        t("Your sign-in link for %(practice_name)s", practice_name=reader.practice_name),
        (
            opening,
            t("It works once, within %(lasts)s. If you did not ask for it, nothing needs to be done.", lasts=lasts),
        ),
        link_words=t("Sign in"),
    )


def _welcome(_facts: Facts, reader: Reader) -> Letter:
    return Letter(
        t("Welcome to %(practice_name)s", practice_name=reader.practice_name),
        (
            t("Your address is confirmed and your account is ready."),
            t("You can find a practitioner, book a session and see everything about your sessions in your account."),
        ),
        "/practitioners",
        t("Find a practitioner"),
    )


def _account_changed(facts: Facts, reader: Reader) -> Letter:
    return Letter(
        t("Your account at %(practice_name)s was changed", practice_name=reader.practice_name),
        (
            look_up(_CHANGES.get(str(facts.get("what")), N_("Something about how you sign in was changed."))),
            t(
                "If that was you, nothing needs to be done. If it was not, sign out everywhere on "
                "your account page and write to us."
            ),
        ),
        "/account/security",
        t("See how you sign in"),
    )


def _phone_code(facts: Facts, reader: Reader) -> str:
    code = facts.get("code") or t("(taken out)")
    return t(
        "%(code)s is your code for %(practice_name)s. It works for 10 minutes. We never ask you for it.",
        code=code,
        practice_name=reader.practice_name,
    )


def _export_ready(facts: Facts, _reader: Reader) -> Letter:
    words = t(
        "The copy of your data that you asked for is ready. It can be fetched for %(get)s days.",
        get=facts.get("days", 7),
    )
    return Letter(t("The copy of your data is ready"), (words,), told_path(facts), t("Fetch it"))


def _notes_asked(facts: Facts, _reader: Reader) -> Letter:
    words = t(
        "%(who)s has asked for a copy of what you keep on them. You decide whether your notes are in it.",
        who=told_name(facts),
    )
    return Letter(t("A client asks for your notes"), (words,), told_path(facts), t("Open the client file"))


def _notes_answered(facts: Facts, _reader: Reader) -> Letter:
    words = t(
        "%(who)s has answered whether you get a copy of their notes. You can read it in your account.",
        who=told_name(facts),
    )
    return Letter(t("Your request was answered"), (words,), told_path(facts), t("Read it"))


WORDS: Vocabulary = {
    NoticeKind.EXPORT_READY: Words(
        _export_ready, lambda facts: InApp(t("The copy of your data is ready"), "", told_path(facts))
    ),
    NoticeKind.NOTES_ASKED: Words(
        _notes_asked, lambda facts: InApp(t("A client asks for your notes"), told_name(facts), told_path(facts))
    ),
    NoticeKind.NOTES_ANSWERED: Words(
        _notes_answered, lambda facts: InApp(t("Your request was answered"), told_name(facts), told_path(facts))
    ),
    NoticeKind.SIGN_IN_LINK: Words(_sign_in_link),
    NoticeKind.WELCOME: Words(_welcome),
    NoticeKind.ACCOUNT_CHANGED: Words(_account_changed),
    NoticeKind.PHONE_CODE: Words(sms=_phone_code),
}
