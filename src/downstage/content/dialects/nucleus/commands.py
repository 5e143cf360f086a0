"""The commands that are spoken, by name."""

from __future__ import annotations

from collections.abc import Mapping

from downstage.content.dialects.nucleus import files, people, rights, tree, watch
from downstage.content.dialects.nucleus.call import Answer, Call, Command, Stream

__all__ = ["COMMANDS", "REFUSED", "STREAMS"]


async def ping(call: Call) -> Answer:
    """Somebody is here."""
    return Answer({"username": call.caller.name, "connection_id": call.caller.client_id})


COMMANDS: Mapping[str, Command] = {
    "ping": ping,
    "stat2": tree.stat2,
    "create_directory": tree.create_directory,
    "delete2": tree.delete2,
    "copy2": tree.copy2,
    "rename2": tree.rename2,
    "get_transaction_id": tree.get_transaction_id,
    "set_path_options2": tree.set_path_options2,
    "create_asset": files.create_asset,
    "update_asset": files.update_asset,
    "read_asset_version": files.read_asset_version,
    "checkpoint_version": files.checkpoint_version,
    "get_checkpoints": files.get_checkpoints,
    "replace_version": files.replace_version,
    "get_branches": files.get_branches,
    "lock": rights.lock,
    "unlock": rights.unlock,
    "get_acl_v2": rights.get_acl_v2,
    "get_acl_resolved": rights.get_acl_resolved,
    "set_acl_v2": rights.set_acl_v2,
    "get_users": people.get_users,
    "get_groups": people.get_groups,
    "get_group_users": people.get_group_users,
    "get_user_groups": people.get_user_groups,
    "create_group": people.create_group,
    "rename_group": people.rename_group,
    "remove_group": people.remove_group,
    "add_user_to_group": people.add_user_to_group,
    "remove_user_from_group": people.remove_user_from_group,
}
"""One answer each."""

STREAMS: Mapping[str, Stream] = {
    "list2": tree.list2,
    "subscribe_list": watch.subscribe_list,
    "subscribe_read_asset": files.subscribe_read_asset,
    "subscribe_server_notifications": watch.subscribe_server_notifications,
}
"""Answers until they end, or the client stops them."""

_LIVE = "Live objects are not spoken on this wire: the form of their content is not public."
_OLD = "That is the older form of a command; the newer one is spoken here."
_BY_HASH = "Uploads by hash are not taken here; send the content."
_MOUNTS = "Mounts are made by an administrator, not on this wire."
REFUSED: Mapping[str, str] = {
    **dict.fromkeys(("mount", "unmount", "get_mount_info"), _MOUNTS),
    **dict.fromkeys(("create_asset_with_hash", "update_asset_with_hash"), _BY_HASH),
    **dict.fromkeys(
        (
            "create_object", "update_object", "subscribe_read_object", "read_object_version",
            "deep_copy_object_struct",
        ),
        _LIVE,
    ),
    **dict.fromkeys(
        (
            "auth", "create", "update", "read", "list", "delete", "copy", "rename", "get_acl",
            "change_acl", "set_path_options",
        ),
        _OLD,
    ),
}  # fmt: skip
"""Commands of the wire that are known and not spoken, and why: NOT_IMPLEMENTED."""
