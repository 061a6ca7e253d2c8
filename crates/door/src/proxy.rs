//! The PROXY protocol, version 2, from a load balancer that passes TLS through: who is behind it.
//!
//! Source: "The PROXY protocol, versions 1 & 2" (haproxy.org, doc/proxy-protocol.txt), section 2.2. The header
//! is read before anything else and byte for byte, so that the TLS behind it is untouched; it is believed only
//! from addresses that the operator named; version 1 is not spoken; TLVs are passed over unread.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};

/// What every header begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The fixed part: signature, version and command, family, length.
const FIXED_BYTES: usize = 16;
/// The most that may follow the fixed part, TLVs included.
const MOST_BYTES: usize = 1024;

/// Why a connection that should begin with a header is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadProxyHeader {
    /// No header of version 2: version 1, TLS without one, or something else.
    #[error("it does not begin with a PROXY header of version 2 (send-proxy-v2)")]
    NotVersion2,
    /// A command or a family that no load balancer for TLS over TCP sends.
    #[error("its PROXY header names another command or family than TCP over IPv4 or IPv6")]
    Unsupported,
    /// Longer than what is read, or shorter than its own addresses.
    #[error("its PROXY header has a length that can't be")]
    Length,
    /// It ended in the middle.
    #[error("it ended within the PROXY header")]
    CutShort,
}

/// What the fixed part says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fixed {
    family: Family,
    length: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    /// LOCAL (the load balancer's own health check), or a family it does not tell.
    Untold,
    V4,
    V6,
}

impl Fixed {
    fn read(bytes: &[u8; FIXED_BYTES]) -> Result<Self, BadProxyHeader> {
        let [signature @ .., version_command, family, high, low] = bytes;
        if *signature != SIGNATURE || version_command >> 4 != 2 {
            return Err(BadProxyHeader::NotVersion2);
        }
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let family = match (version_command & 0x0f, family) {
            // Receivers must take LOCAL whatever its family says, and pass over its addresses.
            (0, _) | (1, 0x00) => Family::Untold,
            (1, 0x11) => Family::V4,
            (1, 0x21) => Family::V6,
            _ => return Err(BadProxyHeader::Unsupported),
        };
        let least = match family {
            Family::Untold => 0,
            Family::V4 => 12,
            Family::V6 => 36,
        };
        if (least..=MOST_BYTES).contains(&length) {
            Ok(Self { family, length })
        } else {
            Err(BadProxyHeader::Length)
        }
    }

    /// The client's address, from what follows the fixed part.
    fn source(self, rest: &[u8]) -> Option<SocketAddr> {
        match self.family {
            Family::Untold => None,
            Family::V4 => {
                let (ip, after) = rest.split_first_chunk::<4>()?;
                let port = after.get(4..)?.first_chunk::<2>()?;
                Some(SocketAddr::from((Ipv4Addr::from(*ip), u16::from_be_bytes(*port))))
            }
            Family::V6 => {
                let (ip, after) = rest.split_first_chunk::<16>()?;
                let port = after.get(16..)?.first_chunk::<2>()?;
                Some(SocketAddr::from((Ipv6Addr::from(*ip).to_canonical(), u16::from_be_bytes(*port))))
            }
        }
    }
}

/// Reads the header at the beginning of a connection, and not a byte more. `None`: the load balancer speaks for
/// itself (a health check), or does not say for whom.
///
/// # Errors
/// [`BadProxyHeader`]; then the connection is closed.
pub async fn read_proxy_header<S: AsyncRead + Unpin>(
    stream: &mut S,
) -> Result<Option<SocketAddr>, BadProxyHeader> {
    let mut fixed = [0; FIXED_BYTES];
    stream.read_exact(&mut fixed).await.map_err(|_| BadProxyHeader::CutShort)?;
    let fixed = Fixed::read(&fixed)?;
    let mut rest = vec![0; fixed.length];
    stream.read_exact(&mut rest).await.map_err(|_| BadProxyHeader::CutShort)?;
    Ok(fixed.source(&rest))
}

/// A range of addresses, `10.0.0.0/8` or one address alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    first: IpAddr,
    bits: u8,
}

/// The text is no range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no range of addresses; give for example 10.0.0.0/8 or 2001:db8::/32, or one address")]
pub struct NotANetwork;

impl Network {
    /// Whether the address lies in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(a)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                u32::from(first) & mask == u32::from(a) & mask
            }
            (IpAddr::V6(first), IpAddr::V6(a)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                u128::from(first) & mask == u128::from(a) & mask
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (first, bits) = match text.split_once('/') {
            Some((first, bits)) => (first, Some(bits)),
            None => (text, None),
        };
        let first: IpAddr = first.parse().map_err(|_| NotANetwork)?;
        let most = if first.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(b) if b.bytes().all(|c| c.is_ascii_digit()) => b.parse().map_err(|_| NotANetwork)?,
            Some(_) => return Err(NotANetwork),
        };
        if bits <= most { Ok(Self { first, bits }) } else { Err(NotANetwork) }
    }
}

impl TryFrom<String> for Network {
    type Error = NotANetwork;
    fn try_from(text: String) -> Result<Self, NotANetwork> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(n: Network) -> Self {
        format!("{}/{}", n.first, n.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A header as haproxy writes it, with what else may follow the addresses.
    fn header(version_command: u8, family: u8, addresses: &[u8], tlvs: &[u8]) -> Vec<u8> {
        let length = u16::try_from(addresses.len() + tlvs.len()).unwrap();
        [&SIGNATURE[..], &[version_command, family], &length.to_be_bytes(), addresses, tlvs].concat()
    }

    fn v4() -> Vec<u8> {
        vec![192, 0, 2, 7, 198, 51, 100, 9, 0xc3, 0x50, 0x20, 0xfb]
    }

    /// What is read, and how many bytes of `behind` are left for TLS.
    fn read(header: &[u8], behind: &[u8]) -> Result<(Option<SocketAddr>, usize), BadProxyHeader> {
        let all = [header, behind].concat();
        let mut left = &all[..];
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let found = runtime.block_on(read_proxy_header(&mut left))?;
        Ok((found, left.len()))
    }

    #[test]
    fn a_header_of_version_2_says_who_is_behind_the_load_balancer_and_leaves_what_follows() {
        let client = "192.0.2.7:50000".parse().ok();
        assert_eq!(read(&header(0x21, 0x11, &v4(), b""), b"TLS"), Ok((client, 3)));
        assert_eq!(read(&header(0x21, 0x11, &v4(), &[4, 0, 2, 0, 0]), b"TLS"), Ok((client, 3)), "TLVs");
        let six = [[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]; 2].concat();
        let six = [&six[..], &[0xc3, 0x50, 0x20, 0xfb]].concat();
        let client = "[2001:db8::7]:50000".parse().ok();
        assert_eq!(read(&header(0x21, 0x21, &six, b""), b"TLS"), Ok((client, 3)));
        // A health check, and a client that is not told of.
        assert_eq!(read(&header(0x20, 0x00, b"", b""), b"TLS"), Ok((None, 3)));
        assert_eq!(read(&header(0x20, 0x11, &v4(), b""), b"TLS"), Ok((None, 3)));
        assert_eq!(read(&header(0x21, 0x00, b"", b""), b"TLS"), Ok((None, 3)));
    }

    #[test]
    fn version_1_tls_without_a_header_and_other_families_are_refused() {
        for (bytes, why) in [
            (b"PROXY TCP4 192.0.2.7 198.51.100.9 50000 8443\r\n".to_vec(), BadProxyHeader::NotVersion2),
            (vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 0, 0, 0, 0, 0, 0, 0], BadProxyHeader::NotVersion2),
            (header(0x11, 0x11, &v4(), b""), BadProxyHeader::NotVersion2),
            (header(0x31, 0x11, &v4(), b""), BadProxyHeader::NotVersion2),
            (header(0x22, 0x11, &v4(), b""), BadProxyHeader::Unsupported),
            (header(0x21, 0x12, &v4(), b""), BadProxyHeader::Unsupported),
            (header(0x21, 0x31, &[0; 216], b""), BadProxyHeader::Unsupported),
            (header(0x21, 0x11, &v4()[..11], b""), BadProxyHeader::Length),
            (header(0x21, 0x21, &v4(), b""), BadProxyHeader::Length),
            (header(0x21, 0x11, &v4(), &[0; 1100]), BadProxyHeader::Length),
            (header(0x21, 0x11, &v4(), b"")[..20].to_vec(), BadProxyHeader::CutShort),
            (SIGNATURE.to_vec(), BadProxyHeader::CutShort),
            (vec![], BadProxyHeader::CutShort),
        ] {
            assert_eq!(read(&bytes, b""), Err(why), "{bytes:?}");
        }
    }

    #[test]
    fn a_range_of_addresses_holds_its_own_and_no_others() {
        let holds = |net: &str, ip: &str| net.parse::<Network>().unwrap().contains(ip.parse().unwrap());
        assert!(holds("10.0.0.0/8", "10.255.1.2") && !holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("192.0.2.7", "192.0.2.7") && !holds("192.0.2.7", "192.0.2.8"));
        assert!(holds("0.0.0.0/0", "203.0.113.1") && !holds("0.0.0.0/0", "2001:db8::1"));
        assert!(holds("2001:db8::/32", "2001:db8:1::1") && !holds("2001:db8::/32", "2001:db9::1"));
        assert!(holds("10.0.0.0/8", "::ffff:10.1.2.3"), "as a listener on both families sees it");
        for bad in
            ["", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/", "10.0.0.0/+8", "2001:db8::/129", "example.org"]
        {
            assert_eq!(bad.parse::<Network>(), Err(NotANetwork), "{bad}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn whatever_comes_is_read_within_its_bound_and_without_a_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..80),
            version_command in prop_oneof![Just(0x20u8), Just(0x21), any::<u8>()],
            family in prop_oneof![Just(0x11u8), Just(0x21), Just(0), any::<u8>()],
        ) {
            let _ = read(&bytes, b"");
            let whole = header(version_command, family, &bytes, b"");
            if let Ok((_, left)) = read(&whole, b"behind") {
                prop_assert_eq!(left, 6);
            }
        }
    }
}
