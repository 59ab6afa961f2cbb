"""Who may do what with images: Glance's defaults.

Source: https://docs.openstack.org/glance/latest/configuration/glance_policy.html
"""

_OWNER = "role:admin or (role:member and project_id:%(project_id)s)"
_SEES = (
    "role:admin or (role:reader and (project_id:%(project_id)s or 'public':%(visibility)s or "
    "'community':%(visibility)s or project_id:%(member_id)s))"
)

POLICIES = {
    "image:add_image": "role:admin or role:member",
    "image:get_images": "role:admin or role:reader",
    "image:get_image": _SEES,
    "image:download_image": "role:admin or (role:member and (project_id:%(project_id)s or 'public':%(visibility)s or "
    "'community':%(visibility)s or project_id:%(member_id)s))",
    "image:modify_image": _OWNER,
    "image:delete_image": _OWNER,
    "image:upload_image": _OWNER,
    "image:publicize_image": "role:admin",
    "image:communitize_image": _OWNER,
    "image:deactivate": _OWNER,
    "image:reactivate": _OWNER,
    "image:set_image_owner": "role:admin",
    "image:add_member": _OWNER,
    "image:delete_member": _OWNER,
    "image:get_members": "role:admin or (role:reader and (project_id:%(project_id)s or project_id:%(member_id)s))",
    "image:modify_member": "role:admin or (role:member and project_id:%(member_id)s)",
    "image:get_tasks": "role:admin or role:reader",
    "image:tasks_api_access": "role:admin",
    "metadef:get": "role:admin or role:reader",
    "metadef:get_namespace": "role:admin or (role:reader and (project_id:%(project_id)s or 'public':%(visibility)s))",
    "metadef:modify": "role:admin",
}
