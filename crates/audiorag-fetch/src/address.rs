//! Which addresses belong to the public internet, and which must not be reached because a URL says so.
//!
//! The table follows the IANA registries of special-purpose addresses (RFC 6890 and its updates) and the addresses
//! at which cloud machines find their credentials.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IPv4 networks that are not the public internet: address, length of the prefix, what it is.
const V4: &[([u8; 4], u8, &str)] = &[
    ([0, 0, 0, 0], 8, "this machine"),
    ([10, 0, 0, 0], 8, "a private network"),
    ([100, 64, 0, 0], 10, "a provider's internal network"),
    ([127, 0, 0, 0], 8, "this machine"),
    // Azure hands credentials out here, in the middle of a public network.
    ([168, 63, 129, 16], 32, "a cloud's metadata service"),
    ([169, 254, 169, 254], 32, "a cloud's metadata service"),
    ([169, 254, 0, 0], 16, "the local link"),
    ([172, 16, 0, 0], 12, "a private network"),
    ([192, 0, 0, 0], 24, "a reserved network"),
    ([192, 0, 2, 0], 24, "a network for documentation"),
    ([192, 88, 99, 0], 24, "a relay between IP versions"),
    ([192, 168, 0, 0], 16, "a private network"),
    ([198, 18, 0, 0], 15, "a network for benchmarks"),
    ([198, 51, 100, 0], 24, "a network for documentation"),
    ([203, 0, 113, 0], 24, "a network for documentation"),
    ([224, 0, 0, 0], 4, "a multicast group"),
    ([240, 0, 0, 0], 4, "a reserved network"),
];

/// IPv6 networks that are not the public internet, and are worth a name or lie inside `2000::/3`.
const V6: &[([u16; 8], u8, &str)] = &[
    ([0, 0, 0, 0, 0, 0, 0, 0], 127, "this machine"),
    (
        [0x64, 0xff9b, 1, 0, 0, 0, 0, 0],
        48,
        "a relay between IP versions",
    ),
    // Teredo, benchmarks, identifiers that are no addresses.
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, "a reserved network"),
    (
        [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0],
        32,
        "a network for documentation",
    ),
    // 6to4 holds an IPv4 address of anybody's choice, and nobody hosts anything behind it.
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, "a relay between IP versions"),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "a network for documentation"),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "a private network"),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "the local link"),
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "a private network"),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "a multicast group"),
];

/// Why an address must not be reached because a URL names it; `None` for an address of the public internet.
///
/// IPv4 addresses inside IPv6 ones (mapped, NAT64, ISATAP) are judged as what they are.
pub fn refusal(address: IpAddr) -> Option<&'static str> {
    match canonical(address) {
        IpAddr::V4(address) => refusal_v4(address),
        IpAddr::V6(address) => refusal_v6(address),
    }
}

/// The address with `::ffff:a.b.c.d` written as `a.b.c.d`, which is what the system connects to.
pub(crate) fn canonical(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// Whether `address` lies in the network `base/prefix`. Addresses of different versions never do.
pub(crate) fn contains(base: IpAddr, prefix: u8, address: IpAddr) -> bool {
    match (base, address) {
        (IpAddr::V4(base), IpAddr::V4(address)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
            base.to_bits() & mask == address.to_bits() & mask
        }
        (IpAddr::V6(base), IpAddr::V6(address)) => {
            let mask = u128::MAX
                .checked_shl(128 - u32::from(prefix.min(128)))
                .unwrap_or(0);
            base.to_bits() & mask == address.to_bits() & mask
        }
        _ => false,
    }
}

fn refusal_v4(address: Ipv4Addr) -> Option<&'static str> {
    V4.iter()
        .find(|(base, prefix, _)| contains(Ipv4Addr::from(*base).into(), *prefix, address.into()))
        .map(|(_, _, what)| *what)
}

fn refusal_v6(address: Ipv6Addr) -> Option<&'static str> {
    if let Some((_, _, what)) = V6
        .iter()
        .find(|(base, prefix, _)| contains(Ipv6Addr::from(*base).into(), *prefix, address.into()))
    {
        return Some(what);
    }
    let segments = address.segments();
    let [.., high, low] = segments;
    let embedded = Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match segments {
        // NAT64, which is how a network without IPv4 reaches the rest of the internet: judged by where it leads.
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => refusal_v4(embedded),
        // Only this eighth of the space is given out as global addresses.
        [first, ..] if first & 0xe000 != 0x2000 => Some("a reserved network"),
        // ISATAP carries packets to an IPv4 address inside somebody's network.
        [_, _, _, _, 0 | 0x200, 0x5efe, ..] => Some("a relay between IP versions"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_public_internet_may_be_reached() {
        for address in [
            "1.1.1.1",
            "93.184.216.34",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.1",
            "168.63.129.15",
            "172.15.255.255",
            "172.32.0.1",
            "192.167.255.255",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2001:200::1",
            "2a00:1450:4001:81b::200e",
            "64:ff9b::101:101",
            "::ffff:1.1.1.1",
        ] {
            assert_eq!(refusal(address.parse().unwrap()), None, "{address}");
        }
    }

    /// Table: judged | over 90 spellings of inner addresses (octal, hexadecimal, one number, full-width, IPv4 in
    /// IPv6, 6to4, NAT64, metadata), schemes and passwords
    #[test]
    fn networks_end_where_they_end() {
        for (inside, what) in [
            ("0.255.255.255", "this machine"),
            ("100.127.255.255", "a provider's internal network"),
            ("172.31.255.255", "a private network"),
            ("169.254.169.254", "a cloud's metadata service"),
            ("169.254.169.253", "the local link"),
            ("239.255.255.255", "a multicast group"),
            ("255.255.255.255", "a reserved network"),
            ("::", "this machine"),
            ("::1", "this machine"),
            ("::127.0.0.1", "a reserved network"),
            ("64:ff9b::7f00:1", "this machine"),
            ("64:ff9b:1::7f00:1", "a relay between IP versions"),
            ("2002:7f00:1::", "a relay between IP versions"),
            ("2001:0:53aa:64c::1", "a reserved network"),
            ("2a00:1450::5efe:7f00:1", "a relay between IP versions"),
            ("fd00:ec2::254", "a private network"),
            ("fe80::1", "the local link"),
            ("5f00::1", "a reserved network"),
        ] {
            assert_eq!(refusal(inside.parse().unwrap()), Some(what), "{inside}");
        }
    }

    proptest! {
        /// Table: judged | over 90 spellings of inner addresses (octal, hexadecimal, one number, full-width, IPv4 in
        /// IPv6, 6to4, NAT64, metadata), schemes and passwords
        #[test]
        fn an_ipv4_address_is_judged_alike_in_every_dress(bits: u32) {
            let v4 = Ipv4Addr::from_bits(bits);
            let mapped = v4.to_ipv6_mapped();
            let nat64 = Ipv6Addr::from_bits(0x64_ff9b << 96 | u128::from(bits));
            prop_assert_eq!(refusal(mapped.into()), refusal(v4.into()));
            prop_assert_eq!(refusal(nat64.into()), refusal(v4.into()));
        }
    }
}
