//! `[http]`: the API's own port.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::Deserialize;

use super::{cors::Cors, limits::Limits, reader::Section};

/// `prod` unless somebody develops with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    #[default]
    Prod,
    Dev,
}

/// An address or a network in CIDR notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Parses `10.0.0.0/8`, `::1` and the like.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(most), |bits| bits.parse().ok())?;
        (bits <= most).then_some(Self { address, bits })
    }

    /// Whether an address lies in it. An IPv4 address mapped into IPv6 counts as the IPv4 address it is.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                (net.to_bits() ^ ip.to_bits()).checked_shr(32 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                (net.to_bits() ^ ip.to_bits()).checked_shr(128 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// How the API listens and what it puts up with.
#[derive(Debug, Clone)]
pub struct Http {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    pub mode: Mode,
    /// A request that is neither a transfer nor a wait is given up after this.
    pub request_timeout: Duration,
    /// Longest JSON body that is read.
    pub body_limit_bytes: usize,
    /// Longest `?wait=`.
    pub max_wait: Duration,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    pub cors: Cors,
    pub limits: Limits,
}

impl Http {
    pub(super) fn read(s: &mut Section<'_>) -> Self {
        let proxies: Vec<String> = s.get("trusted_proxies", "a list of addresses or networks");
        let mut trusted_proxies = Vec::new();
        for proxy in proxies {
            match Network::parse(&proxy) {
                Some(network) => trusted_proxies.push(network),
                None => {
                    s.fail("trusted_proxies", &format!("{proxy:?} is no address or network"), "give 10.0.0.0/8 or ::1");
                }
            }
        }
        let mode: Mode = s.get("mode", "\"prod\" or \"dev\"");
        Self {
            listen: listen(s, "listen", 8080),
            mode,
            request_timeout: s.seconds("request_timeout_s", 1.0..=300.0),
            body_limit_bytes: usize::try_from(s.number("body_limit_bytes", 1024..=16 << 20)).unwrap_or(65536),
            max_wait: s.seconds("max_wait_s", 0.0..=300.0),
            trusted_proxies,
            cors: Cors::read(&mut s.table("cors"), mode),
            limits: Limits::read(&mut s.table("limits")),
        }
    }
}

/// An address to listen on.
pub(super) fn listen(s: &mut Section<'_>, name: &str, port: u16) -> SocketAddr {
    s.optional(name, "address:port, for example 127.0.0.1:8080").unwrap_or((Ipv4Addr::LOCALHOST, port).into())
}
