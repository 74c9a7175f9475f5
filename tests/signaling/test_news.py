"""News of control: carried to those they are for, numbered, and said again after a lost socket."""

from signaling.permissions import Place, Role
from tests.signaling.conftest import Stage


async def test_news_reach_only_those_they_are_for(stage: Stage) -> None:
    amara = await stage.join("amara")
    mina = await stage.join("mina", Role.client, Place.waiting)
    stage.hub.tell("a1", "chat", {"text": "for both"}, ("amara", "mina"))
    stage.hub.tell("a1", "problem", {"id": "p1"}, ("amara",))
    stage.hub.tell("a1", "chat", {"text": "last"}, ("mina",))
    stage.hub.tell("a2", "chat", {"text": "nobody is there"}, ("mina",))
    assert (await amara.until("news"))["body"] == {"text": "for both"}
    assert (await amara.until("news"))["topic"] == "problem"
    assert [(await mina.until("news"))["body"]["text"] for _ in range(2)] == ["for both", "last"]


async def test_news_missed_while_the_socket_was_lost_come_after_the_resume(stage: Stage) -> None:
    amara = await stage.join("amara")
    amara.drop()
    stage.hub.tell("a1", "chat", {"text": "meanwhile"}, ("amara",))
    again = await stage.resume(amara)
    news = await again.until("news")
    assert (news["body"], news["n"]) == ({"text": "meanwhile"}, amara.received + 1)
