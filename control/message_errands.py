"""What the scheduler does for messages: reminders, the mailbox, and forgetting what is no longer needed."""

from functools import partial

from control import enquiries, mail_in, messages
from control.config import MessageSettings
from control.database import Database
from control.mailbox import Mailbox
from control.messages import MessageRules
from control.scheduler import Errand


def errands(settings: MessageSettings, db: Database, rules: MessageRules) -> tuple[Errand, ...]:
    always: list[Errand] = [
        partial(messages.remind_unanswered, db, rules),
        partial(enquiries.forget_unproven, db),
        partial(mail_in.forget_old, db),
    ]
    if settings.imap_host is not None:
        mailbox = Mailbox(settings, lambda raw, now: mail_in.take(db, rules, raw, now=now))
        always.append(mailbox.look)
    return tuple(always)
