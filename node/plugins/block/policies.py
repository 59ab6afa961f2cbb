"""Who may do what in block storage: Cinder's default policies.

Source: https://docs.openstack.org/cinder/latest/configuration/block-storage/policy.html
"""

from collections.abc import Mapping
from types import MappingProxyType

RULES: Mapping[str, str] = MappingProxyType(
    {
        "volume:admin": "role:admin",
        "volume:member_or_admin": "role:admin or (role:member and project_id:%(project_id)s)",
        "volume:reader_or_admin": "role:admin or (role:reader and project_id:%(project_id)s)",
    }
)
_ADMIN = "rule:volume:admin"
_MEMBER = "rule:volume:member_or_admin"
_READER = "rule:volume:reader_or_admin"

_READERS = (
    "volume:get", "volume:get_all", "volume:get_snapshot", "volume:get_all_snapshots",
    "volume:get_volume_metadata", "volume:get_snapshot_metadata", "volume:get_transfer",
    "volume:get_all_transfers", "volume_extension:type_get_all", "volume_extension:type_get",
    "volume_extension:volume_image_metadata:show", "volume_extension:types_extra_specs:index",
    "volume_extension:types_extra_specs:show", "volume_extension:quotas:show",
    "limits_extension:used_limits", "backup:get", "backup:get_all", "group:get", "group:get_all",
    "group:get_group_snapshot", "group:get_all_group_snapshots", "message:get", "message:get_all",
)  # fmt: skip
_MEMBERS = (
    "volume:create", "volume:update", "volume:delete", "volume:extend", "volume:retype",
    "volume:revert_to_snapshot", "volume:reimage", "volume:update_readonly_flag",
    "volume:create_snapshot", "volume:update_snapshot", "volume:delete_snapshot",
    "volume:create_volume_metadata", "volume:update_volume_metadata",
    "volume:delete_volume_metadata", "volume:update_snapshot_metadata",
    "volume:delete_snapshot_metadata", "volume:create_transfer", "volume:accept_transfer",
    "volume:delete_transfer", "volume:attachment_create", "volume:attachment_update",
    "volume:attachment_complete", "volume:attachment_delete",
    "volume_extension:volume_actions:attach", "volume_extension:volume_actions:detach",
    "volume_extension:volume_actions:reserve", "volume_extension:volume_actions:unreserve",
    "volume_extension:volume_actions:begin_detaching",
    "volume_extension:volume_actions:roll_detaching",
    "volume_extension:volume_actions:initialize_connection",
    "volume_extension:volume_actions:terminate_connection",
    "volume_extension:volume_actions:upload_image",
    "volume_extension:volume_image_metadata:set", "volume_extension:volume_image_metadata:remove",
    "snapshot_extension:snapshot_actions:update_snapshot_status",
    "backup:create", "backup:update", "backup:delete", "backup:restore",
    "group:create", "group:update", "group:delete", "group:create_group_snapshot",
    "group:delete_group_snapshot", "message:delete",
)  # fmt: skip
_ADMINS = (
    "volume:force_delete", "volume:freeze_host", "volume:thaw_host", "volume:failover_host",
    "volume_extension:volume_admin_actions:reset_status:volume",
    "volume_extension:volume_admin_actions:reset_status:snapshot",
    "volume_extension:volume_admin_actions:force_delete:volume",
    "volume_extension:volume_admin_actions:force_delete:snapshot",
    "volume_extension:volume_admin_actions:force_detach",
    "volume_extension:volume_admin_actions:migrate_volume",
    "volume_extension:volume_admin_actions:migrate_volume_completion",
    "volume_extension:volume_admin_actions:extend_volume_completion",
    "volume_extension:volume_unmanage", "volume_extension:volume_manage",
    "volume_extension:list_manageable", "snapshot_extension:snapshot_manage",
    "snapshot_extension:snapshot_unmanage", "snapshot_extension:list_manageable",
    "volume_extension:types_manage", "volume_extension:types_extra_specs:create",
    "volume_extension:types_extra_specs:update", "volume_extension:types_extra_specs:delete",
    "volume_extension:types_extra_specs:read_sensitive",
    "volume_extension:access_types_qos_specs_id",
    "volume_extension:volume_type_access:get_all_for_type",
    "volume_extension:volume_type_access:addProjectAccess",
    "volume_extension:volume_type_access:removeProjectAccess",
    "volume_extension:volume_type_encryption:get", "volume_extension:volume_type_encryption:create",
    "volume_extension:volume_type_encryption:update",
    "volume_extension:volume_type_encryption:delete",
    "volume_extension:qos_specs_manage:get", "volume_extension:qos_specs_manage:get_all",
    "volume_extension:qos_specs_manage:create", "volume_extension:qos_specs_manage:update",
    "volume_extension:qos_specs_manage:delete",
    "volume_extension:default_set_or_update", "volume_extension:default_get",
    "volume_extension:default_get_all", "volume_extension:default_unset",
    "volume_extension:quotas:update", "volume_extension:quotas:delete",
    "volume_extension:quota_classes:get", "volume_extension:quota_classes:update",
    "volume_extension:services:index", "volume_extension:services:update",
    "volume_extension:hosts", "volume_extension:capabilities",
    "scheduler_extension:scheduler_stats:get_pools",
    "volume_extension:backup_admin_actions:reset_status",
    "volume_extension:backup_admin_actions:force_delete",
    "backup:export-import", "backup:import",
    "group:group_types:create", "group:group_types:update", "group:group_types:delete",
    "group:group_types_specs:get_all", "group:group_types_specs:get",
    "group:group_types_specs:create", "group:group_types_specs:update",
    "group:group_types_specs:delete", "group:access_group_types_specs",
    "group:reset_status", "group:reset_group_snapshot_status",
    "clusters:get_all", "clusters:get", "workers:cleanup",
)  # fmt: skip

POLICIES: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(_READERS, _READER),
        **dict.fromkeys(_MEMBERS, _MEMBER),
        **dict.fromkeys(_ADMINS, _ADMIN),
    }
)
