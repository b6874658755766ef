//! Facts of this host: the names under which others reach it and the ports that are free.
//!
//! Nothing here changes the host. Everything is read from the kernel (`/proc`) and from `/etc/hosts`; no
//! name server is asked, so the answer is the same with and without a network.

mod port;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;

pub use port::{PortError, PortHolder, check_port, free_port, holder_of};

/// The names under which other machines may reach this host, best first.
///
/// Order: source address of the default route (IPv4, then IPv6), other global addresses, the fully
/// qualified name from `/etc/hosts`, the host name. Loopback (`127.0.0.1`) is the answer only when there is
/// no global address at all. Never empty, no duplicates, addresses without brackets.
pub fn default_ingress_hosts() -> Vec<String> {
    let name = host_name();
    let hosts_file = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    ingress_hosts_from(
        &default_route_sources(),
        &local_addresses(Path::new("/proc")),
        &name,
        &hosts_file,
    )
}

/// The host's own name as the kernel knows it; `localhost` when it has none.
pub fn host_name() -> String {
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    if name.is_empty() || name == "(none)" {
        return "localhost".to_owned();
    }
    name
}

/// Whether `host` means the machine (or container) that resolves it, so that nobody else can reach it.
pub fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().map_or_else(
        |_| bare.eq_ignore_ascii_case("localhost") || bare.ends_with(".localhost"),
        |ip| ip.is_loopback() || ip.is_unspecified(),
    )
}

/// Whether `text` can name a host: an IP literal (no brackets) or a DNS name of at most 253 octets.
pub fn is_host(text: &str) -> bool {
    if text.parse::<IpAddr>().is_ok() {
        return true;
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    !name.is_empty()
        && name.len() <= 253
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|octet| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_')
        })
}

/// Source addresses that the kernel would use towards the internet. No packet is sent: connecting a
/// datagram socket only looks the route up. The destinations are documentation addresses (RFC 5737, 3849).
fn default_route_sources() -> Vec<IpAddr> {
    let probes = [
        (
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 9)),
        ),
        (
            SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
            SocketAddr::from((Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 9)),
        ),
    ];
    probes
        .iter()
        .filter_map(|(from, to)| {
            let socket = UdpSocket::bind(from).ok()?;
            socket.connect(to).ok()?;
            Some(socket.local_addr().ok()?.ip())
        })
        .collect()
}

/// Every address of this host, from the kernel's tables below `proc`.
fn local_addresses(proc: &Path) -> Vec<IpAddr> {
    let trie = std::fs::read_to_string(proc.join("net/fib_trie")).unwrap_or_default();
    let six = std::fs::read_to_string(proc.join("net/if_inet6")).unwrap_or_default();
    let mut addresses = parse_fib_trie(&trie);
    addresses.extend(parse_if_inet6(&six));
    addresses
}

/// In `fib_trie` a local address is a leaf `|-- a.b.c.d` followed by the line `/32 host LOCAL`.
fn parse_fib_trie(text: &str) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    let mut leaf = None;
    for line in text.lines() {
        let line = line.trim();
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse::<Ipv4Addr>().ok();
        } else if line == "/32 host LOCAL"
            && let Some(address) = leaf.take()
            && !found.contains(&IpAddr::V4(address))
        {
            found.push(IpAddr::V4(address));
        }
    }
    found
}

/// Lines of `if_inet6`: 32 hex digits, index, prefix length, scope (`00` = global), flags, device.
fn parse_if_inet6(text: &str) -> Vec<IpAddr> {
    const TENTATIVE_OR_FAILED: u32 = 0x40 | 0x08;
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let digits = words.next()?;
            let scope = words.nth(2)?;
            let flags = u32::from_str_radix(words.next()?, 16).ok()?;
            if scope != "00" || flags & TENTATIVE_OR_FAILED != 0 {
                return None;
            }
            Some(IpAddr::V6(Ipv6Addr::from_bits(
                u128::from_str_radix(digits, 16).ok()?,
            )))
        })
        .collect()
}

fn ingress_hosts_from(
    routed: &[IpAddr],
    local: &[IpAddr],
    name: &str,
    hosts_file: &str,
) -> Vec<String> {
    let mut hosts: Vec<String> = Vec::new();
    let mut add = |host: String| {
        if !host.is_empty() && !hosts.contains(&host) {
            hosts.push(host);
        }
    };
    let addresses: Vec<&IpAddr> = routed
        .iter()
        .chain(local)
        .filter(|ip| is_reachable(ip))
        .collect();
    if addresses.is_empty() {
        add(Ipv4Addr::LOCALHOST.to_string());
    }
    for address in addresses {
        add(address.to_string());
    }
    if let Some(full) = full_name(name, hosts_file) {
        add(full);
    }
    if name != "localhost" && is_host(name) {
        add(name.to_owned());
    }
    hosts
}

fn is_reachable(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_unspecified() && !ip.is_link_local(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unspecified() && !ip.is_unicast_link_local(),
    }
}

/// The canonical name (first on its line) of the line in `/etc/hosts` that mentions `name`.
fn full_name(name: &str, hosts_file: &str) -> Option<String> {
    if name.contains('.') {
        return Some(name.to_owned());
    }
    hosts_file.lines().find_map(|line| {
        let mut words = line
            .split('#')
            .next()
            .unwrap_or_default()
            .split_whitespace();
        words.next()?;
        let names: Vec<&str> = words.collect();
        let canonical = *names.first()?;
        let fits = names.contains(&name)
            && canonical.contains('.')
            && canonical != "localhost.localdomain"
            && is_host(canonical);
        fits.then(|| canonical.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIE: &str = "Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 10.1.0.0/16 2 0 2
        |-- 10.1.0.0
           /16 link UNICAST
        |-- 10.1.2.3
           /32 host LOCAL
        |-- 10.1.255.255
           /32 link BROADCAST
     |-- 127.0.0.1
        /32 host LOCAL
Local:
        |-- 10.1.2.3
           /32 host LOCAL
";

    fn ips(text: &[&str]) -> Vec<IpAddr> {
        text.iter()
            .map(|ip| ip.parse().expect("a literal"))
            .collect()
    }

    #[test]
    fn local_addresses_come_from_the_trie_once_each() {
        assert_eq!(parse_fib_trie(TRIE), ips(&["10.1.2.3", "127.0.0.1"]));
    }

    #[test]
    fn six_addresses_skip_link_local_and_tentative() {
        let text = "\
fe800000000000000000000000000001 02 40 20 80     eth0
20010db8000000000000000000000005 02 40 00 80     eth0
20010db8000000000000000000000006 02 40 00 40     eth0
00000000000000000000000000000001 01 80 10 80       lo
garbage
";
        assert_eq!(parse_if_inet6(text), ips(&["2001:db8::5"]));
    }

    #[test]
    fn the_default_route_comes_first_and_names_last() {
        let hosts = ingress_hosts_from(
            &ips(&["192.0.2.7"]),
            &ips(&["127.0.0.1", "10.88.0.1", "192.0.2.7", "169.254.1.1"]),
            "alpha",
            "127.0.0.1 localhost\n127.0.1.1 alpha.example.com alpha # own\n",
        );
        assert_eq!(
            hosts,
            ["192.0.2.7", "10.88.0.1", "alpha.example.com", "alpha"]
        );
    }

    #[test]
    fn loopback_only_when_nothing_else_is_there() {
        let hosts = ingress_hosts_from(&[], &ips(&["127.0.0.1", "::1"]), "localhost", "");
        assert_eq!(hosts, ["127.0.0.1"]);
    }

    #[test]
    fn host_syntax() {
        for good in ["a", "a.b-c.example", "10.0.0.1", "2001:db8::1", "host_1"] {
            assert!(is_host(good), "{good}");
        }
        for bad in [
            "",
            "-a",
            "a..b",
            "h/x",
            "h:80",
            "[::1]",
            "a b",
            &"x".repeat(64),
        ] {
            assert!(!is_host(bad), "{bad}");
        }
    }

    #[test]
    fn loopback_in_all_spellings() {
        for host in [
            "localhost",
            "LOCALHOST",
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "[::1]",
            "0.0.0.0",
            "db.localhost",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        assert!(!is_loopback("10.0.0.1"));
        assert!(!is_loopback("host.containers.internal"));
    }

    #[test]
    fn this_host_has_at_least_one_name() {
        assert!(!default_ingress_hosts().is_empty());
    }
}
