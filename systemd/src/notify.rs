//! Readiness, told to the manager that started this process (sd_notify(3), the protocol only).

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Variable that names the manager's socket
const SOCKET: &str = "NOTIFY_SOCKET";

/// Tells the manager that the start is complete; `false` when nobody asked to be told
///
/// # Errors
/// When the socket that the environment names takes no message.
pub fn ready() -> io::Result<bool> {
    send(env::var_os(SOCKET).as_deref(), "READY=1\n")
}

fn send(socket: Option<&OsStr>, message: &str) -> io::Result<bool> {
    let Some(name) = socket.filter(|name| !name.is_empty()) else {
        return Ok(false);
    };
    let address = match name.as_bytes() {
        [b'@', abstract_name @ ..] => SocketAddr::from_abstract_name(abstract_name)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &address)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        socket
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn a_message_reaches_a_socket_with_a_path_and_one_without() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        assert!(send(Some(path.as_os_str()), "READY=1\n").unwrap());
        assert_eq!(received(&socket), "READY=1\n");

        let name = format!("skupper-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        assert!(send(Some(OsStr::new(&format!("@{name}"))), "READY=1\n").unwrap());
        assert_eq!(received(&socket), "READY=1\n");
    }

    #[test]
    fn nobody_asked_is_no_error_and_a_dead_socket_is_one() {
        assert!(!send(None, "READY=1\n").unwrap());
        assert!(!send(Some(OsStr::new("")), "READY=1\n").unwrap());
        assert!(send(Some(OsStr::new("/nowhere/notify")), "READY=1\n").is_err());
    }
}
