"""The service itself: status, version, configuration, trust, operations and events."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio
from fastapi import APIRouter, Request, Response, WebSocket
from starlette.websockets import WebSocketDisconnect

import downstage
from downstage.auth.principal import Principal
from downstage.kernel.errors import (
    Conflict,
    Forbidden,
    InvalidField,
    InvalidToken,
    NotFound,
    NotSupported,
    PlatformError,
    Unauthenticated,
)
from downstage.manager.dialects.ams.applications import read_json
from downstage.manager.dialects.ams.callers import fingerprint_of
from downstage.manager.dialects.ams.envelope import deny, listing, prefix_of, sync
from downstage.manager.dialects.ams.events import Kind, Listener
from downstage.manager.dialects.ams.parts import Parts
from downstage.manager.dialects.ams.store import Certificate, now
from downstage.services.openapi import secured

__all__ = ["EXTENSIONS", "add_service_routes"]

EXTENSIONS = (
    "instance_support",
    "zip_archive_support",
    "container_logs",
    "container_exec",
    "addon_metadata",
    "application_tags",
    "instance_tags",
    "event_sequence",
)
"""What a client may rely on; what is not here is not to be had."""
SEES, OPERATES = "instances:read", "operate"
MAX_WAIT_S = 3600.0
CHECK_S = 3.0
"""How often it is looked whether who follows events would still be let in."""
TICKET_S = 60.0
KINDS: dict[str, tuple[Kind, ...]] = {
    "operation": ("operation",),
    "lifecycle": ("lifecycle",),
    "all": ("operation", "lifecycle"),
}
POLICY, BEHIND = 1008, 1013


def add_service_routes(router: APIRouter, parts: Parts) -> None:
    """All of them."""
    _add_status(router, parts)
    _add_trust(router, parts)
    _add_operations(router, parts)
    _add_events(router, parts)


def _add_status(router: APIRouter, parts: Parts) -> None:
    callers = parts.callers

    async def show_status(request: Request) -> Response:
        """What this service speaks, and whether it knows the caller."""
        is_known = await callers.find(request) is not None
        return sync(
            {
                "api_extensions": list(EXTENSIONS),
                "api_status": "stable",
                "api_version": "1.0",
                "auth": "trusted" if is_known else "untrusted",
                "auth_methods": ["tls"],
                "cluster_id": parts.cluster,
                "cluster_name": parts.cluster,
            }
        )

    async def show_version(request: Request) -> Response:
        """Of this program."""
        await callers.need(request, SEES)
        return sync({"version": downstage.__version__})

    async def show_config(request: Request) -> Response:
        """What of the configuration this dialect knows."""
        await callers.need(request, SEES)
        return sync({"config": {"scheduler.strategy": parts.strategy}})

    async def change_config(request: Request) -> Response:
        """Refused, with where it is changed."""
        await callers.need(request, OPERATES)
        name = str((await read_json(request)).get("name", ""))
        if name != "scheduler.strategy":
            raise NotFound(f"There is no setting {name[:64]!r} here.")
        raise NotSupported("This is set in the platform's settings: manager.strategy.")

    async def show_tasks(request: Request) -> Response:
        """What goes on."""
        caller = await callers.need(request, SEES)
        return sync([item.view(prefix_of(request)) for item in parts.operations.list(caller)])

    for path in ("", "/"):
        router.add_api_route(
            path, show_status, methods=["GET"], openapi_extra=secured(optional=True)
        )
    router.add_api_route("/version", show_version, methods=["GET"])
    router.add_api_route("/config", show_config, methods=["GET"])
    router.add_api_route("/config", change_config, methods=["PATCH"])
    router.add_api_route("/tasks", show_tasks, methods=["GET"])


def _certificate_view(item: Certificate) -> dict[str, Any]:
    return {
        "fingerprint": item.fingerprint,
        "name": item.name,
        "certificate": item.pem,
        "created_at": item.created_at,
    }


def _read_certificate(text: object) -> tuple[str, bytes]:
    """PEM, or base64 of DER → (PEM, DER)."""
    if not isinstance(text, str) or len(text) > 64 * 1024:
        raise InvalidField("certificate", "certificate is PEM, or base64 of DER.")
    try:
        if "BEGIN CERTIFICATE" in text:
            return text, ssl.PEM_cert_to_DER_cert(text.strip())
        der = base64.b64decode(text, validate=True)
        return ssl.DER_cert_to_PEM_cert(der), der
    except ValueError as error:
        raise InvalidField("certificate", "certificate is PEM, or base64 of DER.") from error


def _add_trust(router: APIRouter, parts: Parts) -> None:
    callers, store = parts.callers, parts.store

    async def list_certificates(request: Request) -> Response:
        """Clients that are known."""
        caller = await callers.need(request, OPERATES)
        items = [_certificate_view(item) for item in store.trusted if item.tenant == caller.tenant]
        return listing(request, items, "certificates", "fingerprint")

    async def trust_certificate(request: Request) -> Response:
        """Let the client of this certificate in, in the caller's name and with what it may."""
        caller = await callers.need(request, OPERATES)
        person = _person(caller)
        asked = await read_json(request)
        pem, der = _read_certificate(asked.get("certificate"))
        _check_authority(pem)
        known = store.find(fingerprint_of(der))
        if known is not None and (known.subject, known.tenant) != (person, caller.tenant):
            raise Conflict("This certificate stands for somebody else: have it removed first.")
        await store.trust(
            Certificate(
                fingerprint_of(der),
                pem,
                str(asked.get("name") or caller.name)[:128],
                person,
                caller.tenant,
                tuple(sorted(caller.scopes)),
                caller.token_id,
                _until(caller),
                now(),
            )
        )
        return sync({"fingerprint": fingerprint_of(der)})

    async def distrust_certificate(fingerprint: str, request: Request) -> Response:
        """Let it in no more."""
        caller = await callers.need(request, OPERATES)
        known = store.find(fingerprint)
        is_theirs = known is not None and known.tenant == caller.tenant
        if not is_theirs or not await store.distrust(fingerprint):
            raise NotFound("There is no such certificate.")
        return sync({})

    router.add_api_route("/certificates", list_certificates, methods=["GET"])
    router.add_api_route("/certificates", trust_certificate, methods=["POST"])
    router.add_api_route("/certificates/{fingerprint}", distrust_certificate, methods=["DELETE"])


def _person(caller: Principal) -> str:
    if caller.person is None:
        raise Forbidden("A certificate stands for a person: sign in as one.")
    return caller.person


def _until(caller: Principal) -> str:
    if caller.expires_at is None:
        raise Forbidden("A certificate counts as long as a token does: show one that expires.")
    return caller.expires_at.isoformat()


def _check_authority(pem: str) -> None:
    """Whether TLS can be told to trust it."""
    try:
        ssl.create_default_context().load_verify_locations(cadata=pem)
    except (ssl.SSLError, ValueError) as error:
        raise InvalidField("certificate", "certificate is none that TLS understands.") from error


def _add_operations(router: APIRouter, parts: Parts) -> None:
    callers, operations = parts.callers, parts.operations
    one = "/operations/{operation_id}"

    async def list_operations(request: Request) -> Response:
        """What goes on, and what went on just now."""
        caller = await callers.need(request, SEES)
        items = [item.view(prefix_of(request)) for item in operations.list(caller)]
        return listing(request, items, "operations", "id")

    async def get_operation(operation_id: str, request: Request) -> Response:
        """One operation."""
        caller = await callers.need(request, SEES)
        return sync(operations.get(operation_id, caller).view(prefix_of(request)))

    async def wait_operation(operation_id: str, request: Request) -> Response:
        """Answer when it is over, or after `timeout` seconds."""
        caller = await callers.need(request, SEES)
        found = operations.get(operation_id, caller)
        text = request.query_params.get("timeout", "-1")
        try:
            asked = float(text)
        except ValueError as error:
            raise InvalidField("timeout", "timeout is a number of seconds.") from error
        with anyio.move_on_after(asked if 0 <= asked < MAX_WAIT_S else MAX_WAIT_S):
            await found.done.wait()
        return sync(found.view(prefix_of(request)))

    async def cancel_operation(operation_id: str, request: Request) -> Response:
        """Stop it."""
        caller = await callers.need(request, "instances:write")
        operations.cancel(operations.get(operation_id, caller))
        return sync({})

    router.add_api_route("/operations", list_operations, methods=["GET"])
    router.add_api_route(one, get_operation, methods=["GET"])
    router.add_api_route(f"{one}/wait", wait_operation, methods=["GET"])
    router.add_api_route(one, cancel_operation, methods=["DELETE"])


def _add_events(router: APIRouter, parts: Parts) -> None:
    async def follow_events(socket: WebSocket) -> None:
        """Operations and lives of instances, as they happen."""
        try:
            caller = await parts.callers.need(socket, SEES)
            kinds = _kinds(socket.query_params.get("type", "all"))
            since = socket.query_params.get("since")
            number = None if since is None else int(since)
        except ValueError:
            await deny(socket, InvalidField("since", "since is a number."))
            return
        except PlatformError as error:
            await deny(socket, error)
            return
        await socket.accept()
        async with parts.events.listen(caller.tenant, kinds, number) as listener:
            await _tell(socket, listener, lambda: parts.callers.need(socket, SEES))

    router.add_api_websocket_route("/events", follow_events)


def _kinds(text: str) -> tuple[Kind, ...]:
    found = list[Kind]()
    for name in text.split(","):
        found += KINDS.get(name.strip(), ())
    if not found:
        raise InvalidField("type", "type is operation, lifecycle or all.")
    return tuple(found)


async def _until_unwelcome(let_in: Callable[[], Awaitable[Principal]]) -> None:
    """Return once the caller would not be let in any more: revoked, distrusted, or over."""
    while True:
        await anyio.sleep(CHECK_S)
        try:
            await let_in()
        except (Forbidden, InvalidToken, Unauthenticated):
            return
        except PlatformError:
            continue  # it cannot be told just now


async def _tell(
    socket: WebSocket, listener: Listener, let_in: Callable[[], Awaitable[Principal]]
) -> None:
    async with anyio.create_task_group() as tasks:

        async def watch() -> None:
            await _until_unwelcome(let_in)
            with suppress(RuntimeError, WebSocketDisconnect):
                await socket.close(POLICY, "you are not let in any more")
            tasks.cancel_scope.cancel()

        async def hear() -> None:
            try:
                while True:
                    await socket.receive_text()
            except (RuntimeError, WebSocketDisconnect, KeyError):
                tasks.cancel_scope.cancel()

        tasks.start_soon(hear)
        tasks.start_soon(watch)
        try:
            while (event := await listener.next()) is not None:
                await socket.send_json(event)
            await socket.close(BEHIND, "too slow: come back with since")
        except (RuntimeError, WebSocketDisconnect):
            pass
        tasks.cancel_scope.cancel()
