"""The words of the demo practice: two profiles, the informed consent and the recording consent. Words only."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ProfileWords:
    headline: str
    about: str
    modalities: tuple[str, ...]
    languages: tuple[str, ...]
    aftercare: str


PROFILES = {
    "amara@lindenrow.example": ProfileWords(
        headline="Psychotherapist. Grief, burnout and the long middle of things.",
        about=(
            "I trained in existential and relational psychotherapy and have sat with people for fourteen years, ten of "
            "them in a hospice. You don't need to arrive with a plan or a diagnosis. We start with what is heaviest "
            "today.\n\n"
            "Most people come weekly for a while, then less often. I will tell you if I think somebody else could "
            "help you better."
        ),
        modalities=("Psychotherapy", "Grief counselling"),
        languages=("English", "Portuguese", "Igbo"),
        aftercare="Be slow today. Drink some water, go outside for a few minutes, and write down one sentence.",
    ),
    "elio@lindenrow.example": ProfileWords(
        headline="Breath and body work. For people who think too much, myself included.",
        about=(
            "We work by voice only, so you can close your eyes. I guide you through breath and small movements; you "
            "stop whenever you like.\n\n"
            "No experience needed, only a place where you can lie down and will not be called for an hour."
        ),
        modalities=("Breathwork", "Somatic practice"),
        languages=("English", "Italian"),
        aftercare="Stay lying down a little longer. Eat something warm.",
    ),
}

CONSENTS = {
    "care": (
        "Before we begin",
        "What a session is. You speak with your practitioner by video, by audio or in writing. It is care, not "
        "help in danger: if your life or somebody else's is at risk, call your country's help number at once.\n\n"
        "What stays between you. What you say is confidential. The law makes an exception where somebody is in "
        "serious danger; your practitioner will tell you before, if there is any way to.\n\n"
        "What the technology does. Picture, sound and chat go through this practice's own server and nobody else's. "
        "They are encrypted between your browser and that server. Nothing is recorded unless everybody in the "
        "session has agreed to it.\n\n"
        "What you can do at any time. You can stop, leave, ask a question, or take this consent back. Then no further "
        "session takes place until you give it again.",
    ),
    "recording": (
        "May this session be recorded?",
        "What is recorded. Your picture and your sound, and those of your practitioner, while the sign “Recording” "
        "is shown. Chat and files are not part of it.\n\n"
        "Who can watch it. Your practitioner. You too, if it is shared with you. Nobody else.\n\n"
        "Where it is. On this practice's own server, encrypted, for 90 days. Then it is deleted.\n\n"
        "If you change your mind. You can take your answer back at any moment, also in the room. The recording pauses "
        "at once, and what there is of you can be deleted.",
    ),
}
