"""
The record of one client: 64 bytes, in the byte order of the machine.

====== ====== =====================================================================================================
offset type   field
====== ====== =====================================================================================================
0      double last seen: the last accepted pulse or verify (before those, the registration), server time in seconds;
              infinity in a free slot
8      double the last pulse before the last verify, if ``VERIFIED`` is set; in a free slot, as an unsigned
              integer, the next free slot
16     16 B   the address, IPv4 in the form of RFC 4291, section 2.5.5.2 (``::ffff:192.0.2.1``)
32     uint16 its port
34     uint16 the UDP port of the server that the pulses go to; 0 if it is not known
36     uint16 flags, see :data:`USED` and so on; in the high byte, which of several sockets on that port it is
38     uint16 the check of the address: the low half of the CRC-32 of bytes 16 to 36, the client id, and the flags
              that say what kind of address it is, with the high byte
40     16 B   client id
56     8 B    the network that registered it: an IPv6 /64, or four bytes of ones and an IPv4 address; all ones if it is
              not known
====== ====== =====================================================================================================

The order of stores makes a record safe to read after the process was killed at any instruction: ``ADDRESS`` is taken
away before an address changes and set again as the last of the stores. The check finds what else may go wrong, such
as a power cut that kept a part of a page.
"""

from __future__ import annotations

__all__ = [
    "ADDRESS",
    "BANNED",
    "CHECK_AT",
    "FLAGS_AT",
    "ID_AT",
    "IPV6",
    "KICKED",
    "PLACE_AT",
    "RECORD_SIZE",
    "SOURCE_AT",
    "STATE",
    "STEADY_IPV4",
    "STEADY_IPV6",
    "USED",
    "VERIFIED",
    "WORDS",
]

#: Bytes of a record.
RECORD_SIZE = 64

#: Eight-byte words of a record.
WORDS = RECORD_SIZE // 8

#: Offsets of fields, in bytes: the address with its ports, the flags, the check, the client id, the network.
PLACE_AT, FLAGS_AT, CHECK_AT, ID_AT, SOURCE_AT = 16, 36, 38, 40, 56

#: The part of the field of flags that holds the flags. The high byte says which of several sockets it is.
STATE = 0xFF

# What a record's flags say. They are plain numbers: arithmetic with an enumeration costs more than all else here.

#: The slot holds a client.
USED = 1
#: The client has pulsed, and its address is whole.
ADDRESS = 2
#: The address is IPv6.
IPV6 = 4
#: The last thing that was accepted is a verify; the pulse before it is in its own field.
VERIFIED = 8
#: Reserved: an operator has ended the client.
KICKED = 16
#: Reserved: an operator has shut the client out.
BANNED = 32

#: Flags of a client whose pulse from the known address needs nothing but a new time.
STEADY_IPV4 = USED | ADDRESS
STEADY_IPV6 = USED | ADDRESS | IPV6
