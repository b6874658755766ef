//! Ports of this host: is one free, who has it, which one is free instead.

use std::fmt::{self, Display, Formatter};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use socket2::{Domain, Socket, Type};
use thiserror::Error;

/// Why a port can't be listened on.
#[derive(Debug, Error)]
pub enum PortError {
    #[error("port {port}{on} is already in use{by}", on = On(*.ip), by = By(.holder.as_ref()))]
    InUse {
        ip: Option<IpAddr>,
        port: u16,
        /// Who listens there, as far as this user may see it.
        holder: Option<PortHolder>,
    },
    #[error(
        "port {port} needs a privilege that this user does not have (ports from {first_free} on do not)"
    )]
    Forbidden { port: u16, first_free: u16 },
    #[error("address {ip} can't be used on this host: {source}")]
    Address { ip: IpAddr, source: io::Error },
}

/// A process that listens on a port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PortHolder {
    pub pid: u32,
    /// The process's short name, e.g. `sshd`.
    pub name: String,
}

/// Checks that a TCP listener on `ip` (none: all addresses, IPv4 and IPv6) and `port` would come up now.
///
/// # Errors
/// Names the port, and the process that holds it where this user may know.
pub fn check_port(ip: Option<IpAddr>, port: u16) -> Result<(), PortError> {
    match ip {
        Some(ip) => try_listen(ip, port).map_err(|source| explain(Some(ip), ip, port, source)),
        None => [
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        ]
        .into_iter()
        .try_for_each(|any| match try_listen(any, port) {
            // a host without IPv6 is a host all the same
            Err(source) if any.is_ipv6() && is_missing_family(&source) => Ok(()),
            Err(source) => Err(explain(None, any, port, source)),
            Ok(()) => Ok(()),
        }),
    }
}

/// The first port from `candidates` that is free on all of `ips` (empty: on every address).
pub fn free_port(ips: &[IpAddr], candidates: impl IntoIterator<Item = u16>) -> Option<u16> {
    candidates.into_iter().find(|port| {
        if ips.is_empty() {
            return check_port(None, *port).is_ok();
        }
        ips.iter().all(|ip| check_port(Some(*ip), *port).is_ok())
    })
}

/// The process that listens on `port`, when this user may see it.
pub fn holder_of(port: u16) -> Option<PortHolder> {
    holder_below(Path::new("/proc"), port)
}

fn try_listen(ip: IpAddr, port: u16) -> io::Result<()> {
    let address = SocketAddr::new(ip, port);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // as real listeners do: connections of an ended process in TIME-WAIT don't count
    socket.set_reuse_address(true)?;
    if ip.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(1)
}

fn is_missing_family(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    code == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
        || code == Some(rustix::io::Errno::ADDRNOTAVAIL.raw_os_error())
}

fn explain(shown: Option<IpAddr>, ip: IpAddr, port: u16, source: io::Error) -> PortError {
    match source.kind() {
        io::ErrorKind::AddrInUse => PortError::InUse {
            ip: shown,
            port,
            holder: holder_of(port),
        },
        io::ErrorKind::PermissionDenied => PortError::Forbidden {
            port,
            first_free: first_unprivileged(),
        },
        _ => PortError::Address { ip, source },
    }
}

fn first_unprivileged() -> u16 {
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(1024)
}

fn holder_below(proc: &Path, port: u16) -> Option<PortHolder> {
    let inodes: Vec<String> = ["net/tcp", "net/tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(proc.join(table)).ok())
        .flat_map(|table| listening_inodes(&table, port))
        .collect();
    if inodes.is_empty() {
        return None;
    }
    let wanted: Vec<String> = inodes
        .iter()
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    std::fs::read_dir(proc).ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let holds = std::fs::read_dir(entry.path().join("fd"))
            .ok()?
            .flatten()
            .filter_map(|fd| std::fs::read_link(fd.path()).ok())
            .any(|target| {
                wanted
                    .iter()
                    .any(|socket| target.as_os_str() == socket.as_str())
            });
        holds.then(|| PortHolder {
            pid,
            name: std::fs::read_to_string(entry.path().join("comm"))
                .map_or_else(|_| "?".to_owned(), |name| name.trim().to_owned()),
        })
    })
}

/// Inode numbers of the listening sockets on `port` in a table of `/proc/net/tcp` form.
fn listening_inodes(table: &str, port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (_, hex) = words.get(1)?.rsplit_once(':')?;
            let fits = *words.get(3)? == LISTEN && u16::from_str_radix(hex, 16).ok()? == port;
            fits.then(|| words.get(9).map(|inode| (*inode).to_owned()))?
        })
        .collect()
}

struct On(Option<IpAddr>);

impl Display for On {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |ip| write!(f, " on {ip}"))
    }
}

struct By<'a>(Option<&'a PortHolder>);

impl Display for By<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(holder) => write!(f, " by {} (process {})", holder.name, holder.pid),
            None => f.write_str(" by a process of another user"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_taken_port_names_this_process() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = taken.local_addr().expect("an address").port();
        for ip in [None, Some(IpAddr::V4(Ipv4Addr::LOCALHOST))] {
            let error = check_port(ip, port).expect_err("taken");
            let PortError::InUse {
                holder: Some(holder),
                port: named,
                ..
            } = &error
            else {
                panic!("{error}");
            };
            assert_eq!((*named, holder.pid), (port, std::process::id()));
            assert!(error.to_string().starts_with(&format!("port {port}")));
        }
    }

    #[test]
    fn a_free_port_is_free_on_all_addresses_and_skips_taken_ones() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = taken.local_addr().expect("an address").port();
        let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let free = other.local_addr().expect("an address").port();
        drop(other);
        let ips = [IpAddr::V4(Ipv4Addr::LOCALHOST)];
        assert_eq!(free_port(&ips, [port, free]), Some(free));
        assert_eq!(free_port(&[], [port]), None);
    }

    #[test]
    fn an_address_of_another_host_is_refused_with_its_name() {
        let ip: IpAddr = "192.0.2.200".parse().expect("a literal");
        let error = check_port(Some(ip), 0).expect_err("not ours");
        assert!(matches!(error, PortError::Address { .. }), "{error}");
        assert!(error.to_string().contains("192.0.2.200"));
    }

    #[test]
    fn listening_sockets_are_told_from_connected_ones() {
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:D977 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1
   1: 0100007F:D977 0100007F:9999 01 00000000:00000000 00:00000000 00000000  1000        0 4712 1
   2: 00000000:D978 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4713 1
";
        assert_eq!(listening_inodes(table, 0xD977), ["4711"]);
    }
}
