"""
The kinds of NAT, as rules of nftables. The words are those of RFC 4787.

A router's inside is the interface ``lan``, its outside ``wan``. All kinds but one drop what the inside has not asked
for before connection tracking keeps it. A Linux router that keeps it gives its inside another port towards that sender.
"""

from __future__ import annotations

from string import Template

import attrs

#: What comes from outside unasked is dropped, also over IPv6. Pings and the discovery of neighbours pass.
_DROP = """
table inet filter {
  chain input {
    type filter hook input priority 0;
    iifname "wan" ct state established,related accept
    iifname "wan" meta l4proto { icmp, icmpv6 } accept
    iifname "wan" drop
  }
  chain forward {
    type filter hook forward priority 0;
    iifname "wan" ct state established,related accept
    iifname "wan" ct status dnat accept
    iifname "wan" meta l4proto icmpv6 accept
    iifname "wan" drop
  }
}
"""

#: What has gone out is learnt after the translation of sources (priority 100), so the key is the port that others see.
_LEARN = """
table ip nat {
  map inside { type inet_service : ipv4_addr . inet_service; flags dynamic,timeout; timeout 300s; size 65535; }
  set contacted { type ipv4_addr . inet_service; flags dynamic,timeout; timeout 300s; size 65535; }
  chain learn {
    type filter hook postrouting priority 300;
    oifname != "wan" return
    meta l4proto udp update @inside { udp sport timeout 300s : ct original ip saddr . ct original proto-src }
    meta l4proto udp update @contacted { ip daddr . udp sport timeout 300s }
  }
}
"""

_TO_INSIDE = """
table ip nat {
  chain prerouting {
    type nat hook prerouting priority dstnat;
    iifname "wan" $which meta l4proto udp dnat to udp dport map @inside
  }
}
"""

#: The source has the outside address and port, as RFC 4787, REQ-9 a demands.
_HAIRPIN = """
table ip nat {
  chain hairpin_there {
    type nat hook prerouting priority dstnat - 1;
    iifname "lan" ip daddr $wan meta l4proto udp dnat to udp dport map @inside
  }
  chain hairpin_back {
    type nat hook postrouting priority srcnat - 1;
    ip saddr $inside oifname "lan" ct status dnat snat to $wan
  }
}
"""

_TRANSLATE = """
table ip nat {
  chain postrouting {
    type nat hook postrouting priority srcnat;
    $udp
    oifname "wan" masquerade
  }
}
"""

_NO_UDP = """
table inet blocked {
  chain forward { type filter hook forward priority -10; meta l4proto udp drop; }
}
"""

_REMEMBER = """
table ip nat {
  map ports { type ipv4_addr . inet_service : inet_service; flags dynamic,timeout; timeout 300s; size 65535; }
}
"""

_UDP = 'oifname "wan" meta l4proto udp'
_BLOCK = f"{_UDP} masquerade to :40000-40511 fully-random"
_RANDOM = (
    f"{_UDP} add @ports {{ ip saddr . udp sport timeout 300s : numgen random mod 40000 offset 20000 }}\n"
    f"    {_UDP} snat to $wan : ip saddr . udp sport map @ports"
)
_BY_ADDRESS = f"{_UDP} snat to $wan : jhash ip saddr . udp sport . ip daddr mod 40000 seed 0x1234 offset 20000"
_PORTS = ", ".join(f"{number} : {40000 + number}" for number in range(1000))
#: A map keeps the order of bytes right: the number itself would be stored swapped.
_IN_ORDER = f"{_UDP} snat to $wan : numgen inc mod 1000 map {{ {_PORTS} }}"


@attrs.frozen
class Nat:
    """
    A kind of NAT.

    :ivar title: its name in tables.
    :ivar mapping: ``endpoint-independent``, ``address-dependent`` or ``endpoint-dependent`` (RFC 4787, section 4.1,
        calls the last one address and port-dependent); ``none`` without a translation, ``blocked`` if no UDP passes.
    :ivar filtering: the same words (section 5).
    :ivar udp: how sources of UDP are translated, if not as ``masquerade`` does.
    :ivar before: rules that these need.
    :ivar inward: which packets from outside are let in by a mapping that exists; ``None`` for none.
    :ivar drops: whether it drops what was not asked for.
    """

    title: str
    mapping: str
    filtering: str
    udp: str = ""
    before: str = ""
    inward: str | None = None
    drops: bool = True


_INDEPENDENT, _ADDRESS, _ENDPOINT = "endpoint-independent", "address-dependent", "endpoint-dependent"

NATS = {
    "public": Nat("public", "none", _INDEPENDENT),
    "full-cone": Nat("full cone", _INDEPENDENT, _INDEPENDENT, inward=""),
    "address-restricted": Nat("address-restricted", _INDEPENDENT, _ADDRESS, inward="ip saddr . udp dport @contacted"),
    "port-restricted": Nat("port-restricted", _INDEPENDENT, _ENDPOINT),
    "random-port": Nat("EIM, random port", _INDEPENDENT, _ENDPOINT, udp=_RANDOM, before=_REMEMBER),
    "linux-naive": Nat("linux-naive", _INDEPENDENT, _ENDPOINT, drops=False),
    "address-mapping": Nat("address-dependent mapping", _ADDRESS, _ENDPOINT, udp=_BY_ADDRESS),
    "symmetric": Nat("symmetric", _ENDPOINT, _ENDPOINT, udp=f"{_UDP} masquerade fully-random"),
    "sequential": Nat("sequential symmetric", _ENDPOINT, _ENDPOINT, udp=_IN_ORDER),
    "port-block": Nat("symmetric in 512 ports", _ENDPOINT, _ENDPOINT, udp=_BLOCK),
    "blocked": Nat("UDP blocked", "blocked", "blocked", before=_NO_UDP),
}


def ruleset(kind: str, wan: str, inside: str, hairpin: bool = False) -> str:
    """
    Write the rules of a router.

    :param kind: a key of :data:`NATS`.
    :param wan: the address of its outside.
    :param inside: the network of its inside.
    :param hairpin: whether its inside can reach itself by outside addresses (RFC 4787, section 6).
    :returns: what ``nft -f`` reads.
    """
    nat = NATS[kind]
    if kind == "public":
        return ""
    parts = [nat.before]
    if hairpin or nat.inward is not None:
        parts.append(_LEARN)
    parts.append(Template(_TRANSLATE).substitute(udp=Template(nat.udp).substitute(wan=wan)))
    if nat.inward is not None:
        parts.append(Template(_TO_INSIDE).substitute(which=nat.inward))
    if hairpin:
        parts.append(Template(_HAIRPIN).substitute(wan=wan, inside=inside))
    if nat.drops:
        parts.append(_DROP)
    return "".join(parts)
