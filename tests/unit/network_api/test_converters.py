"""Values of bodies: whatever JSON holds is converted or refused with a reason, nothing else."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.errors import NodeError
from node.plugins.network import address_rules, secgroup_rules
from node.plugins.network import converters as to
from node.plugins.network.attributes import Kind
from node.plugins.network.floatingip_rules import KIND as FLOATING_IP
from node.plugins.network.network_rules import KIND as NETWORK
from node.plugins.network.port_attributes import KIND as PORT
from node.plugins.network.router_rules import KIND as ROUTER
from node.plugins.network.subnet_rules import KIND as SUBNET
from node.plugins.network.subnetpool_rules import KIND as POOL
from node.plugins.network.tables import SecurityGroupRule

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["10.0.0.1", "10.0.0.0/24", "fd00::/64", "fa:16:3e:00:00:01", "tcp", "4"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "start",
                    "end",
                    "destination",
                    "nexthop",
                    "ip_address",
                    "subnet_id",
                    "opt_name",
                    "network_id",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=6,
)


@pytest.mark.parametrize(
    "kind",
    [
        NETWORK,
        SUBNET,
        POOL,
        PORT,
        ROUTER,
        FLOATING_IP,
        secgroup_rules.KIND,
        secgroup_rules.RULE_KIND,
    ],
    ids=lambda kind: kind.name,
)
@settings(deadline=None)
@given(value=JSON)
def test_any_value_is_taken_or_refused(kind: Kind, value: Any) -> None:
    for attribute in kind.attributes:
        try:
            attribute.convert(value)
        except (ValueError, NodeError):
            continue


def test_canonical_forms() -> None:
    assert to.ip_address("FD00:0::1") == "fd00::1"
    assert to.cidr("10.0.0.7/24") == "10.0.0.0/24"
    assert to.mac_address("FA-16-3E-00-00-01") == "fa:16:3e:00:00:01"
    assert to.prefix("10.0.0.7") == "10.0.0.7/32"
    assert to.boolean("True") is True
    assert to.tags(["b", "a", "b"]) == ("b", "a")


def test_eui64() -> None:
    assert (
        address_rules.eui64("2001:db8::/64", "fa:16:3e:12:34:56") == "2001:db8::f816:3eff:fe12:3456"
    )


def test_rules_are_the_same_however_they_are_spelt() -> None:
    def signature(**fields: Any) -> str:
        return secgroup_rules.signature(SecurityGroupRule(id="r", **fields))

    assert signature(protocol="tcp") == signature(protocol="6")
    assert signature(remote_ip_prefix="0.0.0.0/0") == signature()
    assert signature(protocol="tcp", port_min=1, port_max=2) != signature(protocol="tcp")
    assert signature(direction="egress") != signature()
