"""Fetches a calendar from an address a practitioner wrote, without letting that address reach inside our network.

    address ─▶ scheme and host looked at ─▶ resolved, every address looked at ─▶ redirects, each looked at again

The connection goes to the addresses that were looked at, so a name that resolves differently the second time gains
nothing. Bounded in time, size and redirects. Raises FetchFailed only; its code is stable and shown in words.
"""

import asyncio
import ipaddress
import socket
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

MOST_BYTES = 2 * 1024 * 1024  # some ten thousand events
MOST_REDIRECTS = 3
TIMEOUT_S = 15.0
REDIRECTS = frozenset({301, 302, 303, 307, 308})
NAT64 = ipaddress.ip_network("64:ff9b::/96")


class FetchFailed(Exception):
    """The peer's fault or temporary; `code` says which."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def is_public(address: str) -> bool:
    """Whether an address belongs to the open internet, whatever it is wrapped in."""
    ip = ipaddress.ip_address(address.split("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if ip.sixtofour is not None or ip.teredo is not None or ip in NAT64:
            return False
    return ip.is_global and not ip.is_multicast


def check_address_untrusted(address: str, *, allow_private: bool) -> str:
    """The address to ask, webcal:// read as https://. Raises FetchFailed("address_refused")."""
    if address.lower().startswith("webcal://"):
        address = "https://" + address[len("webcal://") :]
    try:
        parts = urlsplit(address)
        host, _port = parts.hostname, parts.port
    except ValueError as error:
        raise FetchFailed("address_refused") from error
    if parts.scheme not in {"http", "https"} or not host or parts.username is not None or parts.password is not None:
        raise FetchFailed("address_refused")
    if not allow_private and (host == "localhost" or (_is_ip(host) and not is_public(host))):
        raise FetchFailed("address_refused")
    return address


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class PublicResolver(AbstractResolver):
    """Resolves names as the system does and refuses those that lead to an address of ours."""

    def __init__(self, inner: AbstractResolver | None = None) -> None:
        self._inner = inner or ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        if not all(is_public(one["host"]) for one in found):
            raise FetchFailed("address_refused")
        return found

    async def close(self) -> None:
        await self._inner.close()


async def fetch_untrusted(
    address: str, *, allow_private: bool = False, resolver: AbstractResolver | None = None, timeout_s: float = TIMEOUT_S
) -> bytes:
    connector = aiohttp.TCPConnector(resolver=None if allow_private else PublicResolver(resolver))
    try:
        async with (
            asyncio.timeout(timeout_s),
            aiohttp.ClientSession(connector=connector, auto_decompress=False, trust_env=False) as client,
        ):
            return await _follow(client, address, allow_private=allow_private)
    except TimeoutError as error:
        raise FetchFailed("too_slow") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise FetchFailed("unreachable") from error


async def _follow(client: aiohttp.ClientSession, address: str, *, allow_private: bool) -> bytes:
    headers = {"Accept": "text/calendar, */*;q=0.5", "Accept-Encoding": "identity"}
    for _ in range(MOST_REDIRECTS + 1):
        address = check_address_untrusted(address, allow_private=allow_private)
        async with client.get(address, allow_redirects=False, headers=headers) as answer:
            if answer.status in REDIRECTS and "Location" in answer.headers:
                address = urljoin(address, answer.headers["Location"])
                continue
            if answer.status != 200:
                raise FetchFailed("not_found" if answer.status in {401, 403, 404, 410} else "unreachable")
            return await _body(answer)
    raise FetchFailed("too_many_redirects")


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    """Counted while it comes: what the other side says about its length is not believed."""
    parts: list[bytes] = []
    total = 0
    async for part in answer.content.iter_chunked(65_536):
        total += len(part)
        if total > MOST_BYTES:
            raise FetchFailed("too_large")
        parts.append(part)
    return b"".join(parts)
