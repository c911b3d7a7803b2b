"""Between the wire and the store: may this member say this? Pure but for the members' file.

What is looked at is the very message the store is handed: decoded once. A part that cannot be read is
left to the store, which refuses it; where rights are limited it is refused here.
"""

from __future__ import annotations

import json
from typing import Any

from cxlocal.errors import Refused
from cxlocal.events import types
from cxlocal.exchange.messages import WITNESS, BadMessage, read_part, refusal
from cxlocal.exchange.rights import Rights, how_to_ask, may
from cxlocal.text import is_hexadecimal
from cxlocal_sync.http.members import Member, Members
from cxlocal_sync.stores.answer import refuse


class NotAllowed(Refused):
    """A message that its member may not send."""

    default_name = "not-allowed"


class Gate:
    """One message of one member: ``enter`` before the store is asked, ``leave`` after."""

    def __init__(self, member: Member, members: Members) -> None:
        self.member = member
        self.members = members
        self._no: list[dict[str, Any]] = []
        self._node = ""

    def enter(self, message: dict[str, Any]) -> dict[str, Any]:
        """Check; the message to hand on, without what is not allowed.

        Raises NotAllowed and BadMessage: the whole message is refused.
        """
        self._check_speaker(message)
        rights = self.member.rights
        if read_part(message, "recover") is not None and not rights.manage:
            raise NotAllowed(
                f"{self.member.name} may not recover the store",
                why="it can invite nobody either", hint="run it on a machine that may",
            )  # fmt: skip
        leaving = [read_part(message, name) for name in ("retire", "leave")]
        if leaving != [None, None] and not rights.manage:
            raise NotAllowed(
                f"{self.member.name} may not stop the store",
                why="it can invite nobody either", hint="run it on a machine that may",
            )  # fmt: skip
        message.pop(WITNESS, None)
        self._check_in_part(message)
        if rights.unlimited:
            return message
        if rights.take is not None:
            message[WITNESS] = sorted(rights.take)
        self._check_adoption(message, rights)
        self._check_push(message, rights)
        self._take_wishes(message, rights)
        asked = read_part(message, "pull")
        if rights.read is not None and asked is not None:
            message["pull"] = _narrowed(asked, rights.read)
        return message

    def leave(self, answer: dict[str, Any]) -> dict[str, Any]:
        """The answer to give, without what may not be read. Whom the store has recognised is a machine
        of the member from now on."""
        if "refusal" not in answer and not self.members.speak_as(self._node, self.member):
            return refuse(self._of_another())
        if "refusal" in answer or self.member.rights.unlimited:
            return answer
        read = self.member.rights.read
        answer["rights"] = self._told()
        answer["grant"] = [*answer.get("grant", []), *self._no]
        if read is not None:
            told = answer["store"].get("stopped", [])
            answer["store"]["stopped"] = [
                stop for stop in told if stop["deliverable"] in ("", *read)
            ]
        return answer

    def _check_speaker(self, message: dict[str, Any]) -> None:
        part = message.get("contact")
        node = part.get("node") if isinstance(part, dict) else None
        # What is no name of a machine the store refuses; it must not fill the file of machines.
        if not isinstance(node, str) or not is_hexadecimal(node, 32):
            raise BadMessage("the message holds a malformed contact", why="who speaks?")
        if not self.members.may_speak_as(node, self.member):
            # To the machine this is the same as being a copy, and so is what it has to do: it
            # goes on under a new id and brings what it has.
            raise self._of_another()
        self._node = node

    @staticmethod
    def _of_another() -> NotAllowed:
        return NotAllowed(
            "this journal belongs to another member, or to one that was revoked",
            hint="the journal continues under a new id by itself; nothing is lost",
            name="copy",
        )

    def _check_adoption(self, message: dict[str, Any], rights: Rights) -> None:
        """Counting on from elsewhere is taking numbers."""
        part = read_part(message, "adopt")
        if part is None or rights.take is None:
            return
        for line in _list_in(part, "lines"):
            name = line[0] if isinstance(line, list) and line else None
            if not isinstance(name, str):
                raise BadMessage("the message holds a malformed adoption", why="deliverable")
            if not may(rights.take, name):
                raise self._lacking("take", f"may not take numbers of {name!r}", name)

    def _told(self) -> dict[str, Any]:
        """What the member may do, for itself."""
        return {"member": self.member.name, **self.member.rights.as_json()}

    def _lacking(self, kind: str, what: str, name: str) -> NotAllowed:
        hint = how_to_ask(self.member.name, self.member.rights, name, kind)
        return NotAllowed(f"{self.member.name} {what}", hint=hint, rights=self._told())

    def _check_in_part(self, message: dict[str, Any]) -> None:
        """Who may not push all of a history leaves some out of its own, of nobody else's."""
        for batch in read_part(message, "push") or []:
            if not isinstance(batch, dict) or not batch.get("in_part"):
                continue
            events = _list_in(batch, "events")
            nodes = {str(event.get("node")) for event in events if isinstance(event, dict)}
            if not all(self.members.may_bring(node, self.member) for node in nodes):
                raise NotAllowed(
                    f"{self.member.name} may not push the history of others in part",
                    hint="push all of it, or leave it to whose it is",
                )

    def _check_push(self, message: dict[str, Any], rights: Rights) -> None:
        if rights.push is None:
            return
        for batch in read_part(message, "push") or []:
            for event in _list_in(batch, "events"):
                name = event.get("deliverable") if isinstance(event, dict) else 0
                self._check_author(event)
                if name is not None and not isinstance(name, str):
                    raise BadMessage("the message holds a malformed event", why="deliverable")
                if name is not None and not may(rights.push, name):
                    raise self._lacking("push", f"may not push history of {name!r}", name)
                if name is None:
                    self._check_machine_event(event, rights.push)

    def _check_author(self, event: Any) -> None:
        """Nobody else's chain is continued or forked by a member whose rights to push are limited."""
        node = event.get("node") if isinstance(event, dict) else None
        if isinstance(node, str) and not self.members.may_bring(node, self.member):
            raise self._of_others()

    def _check_machine_event(self, event: dict[str, Any], push: frozenset[str]) -> None:
        """What names no deliverable is about none, and about a machine of the member's own."""
        kind, node = event.get("type"), event.get("node")
        if kind in types.KNOWN and kind not in types.WITHOUT_DELIVERABLE:
            raise NotAllowed(f"{self.member.name} may not push {kind} without a deliverable")
        about = _about(event)
        own = about == node or self._owns(about)
        if event.get("run") or not own or (not push and not self._owns(node)):
            raise self._of_others()

    def _owns(self, node: Any) -> bool:
        """It speaks now, and nobody else did under this name; or it has spoken before."""
        return node == self._node or self.members.owns(self.member, str(node))

    def _of_others(self) -> NotAllowed:
        return NotAllowed(
            f"{self.member.name} may not push history of others",
            hint="leave it to a member that may push all",
        )

    def _take_wishes(self, message: dict[str, Any], rights: Rights) -> None:
        """Take out the wishes that are not allowed: the rest of the message stands (2.7)."""
        wishes = read_part(message, "grant")
        if rights.take is None or not wishes:
            return
        left = []
        for wish in wishes:
            name = wish.get("deliverable") if isinstance(wish, dict) else None
            if not isinstance(name, str):
                raise BadMessage("the message holds a malformed wish", why="deliverable")
            if may(rights.take, name):
                left.append(wish)
                continue
            lacking = self._lacking("take", f"may not take numbers of {name!r}", name)
            no = refusal("not-allowed", lacking.what, lacking.hint)
            self._no.append({"nonce": wish.get("nonce"), "entry": None, "refusal": no})
        message["grant"] = left


def _narrowed(asked: Any, read: frozenset[str]) -> dict[str, Any]:
    """The pull part with nothing but what may be read."""
    if not isinstance(asked, dict):
        raise BadMessage("the message holds a malformed pull part")
    wanted = asked.get("deliverables")
    if wanted is None:
        return {**asked, "deliverables": sorted(read)}
    if not isinstance(wanted, list) or not all(isinstance(each, str) for each in wanted):
        raise BadMessage("the message holds a malformed pull part", why="deliverables")
    return {**asked, "deliverables": sorted(read.intersection(wanted))}


def _about(event: dict[str, Any]) -> str:
    """What an event is about; empty where the store will refuse it."""
    try:
        return str(json.loads(event["document"])["subject"]["id"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""


def _list_in(batch: Any, name: str) -> list[Any]:
    found = batch.get(name) if isinstance(batch, dict) else None
    if not isinstance(found, list):
        raise BadMessage("the message holds a malformed batch")
    return found
