//! What runs inside the containers.

use std::fs;
use std::io::Read as _;
use std::net::{TcpStream, ToSocketAddrs as _};

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Environment variable with the role; without it the test is empty.
pub(crate) const ROLE: &str = "SKUPPER_TEST_ROLE";
pub(crate) const SERVE: &str = "serve";
pub(crate) const ASK: &str = "ask";
pub(crate) const RESOLVE: &str = "resolve";
/// Space-separated names for [`ASK`] and [`RESOLVE`].
pub(crate) const NAMES: &str = "SKUPPER_TEST_NAMES";
/// Privileged: services choose their ports.
pub(crate) const PORT: u16 = 80;
/// Where the bed's directory is mounted.
pub(crate) const MOUNT: &str = "/run/skupper";
pub(crate) const GREETING: &str = "hello";

pub(crate) fn payload_of_container() {
    let names = std::env::var(NAMES).unwrap_or_default();
    let names = names.split_whitespace();
    match std::env::var(ROLE).as_deref() {
        Ok(SERVE) => serve(),
        Ok(ASK) => names.for_each(ask),
        Ok(RESOLVE) => names.for_each(resolve),
        _ => {}
    }
}

/// Greets every connection until SIGTERM, which process 1 must ask for to get.
fn serve() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).unwrap();
        let listener = TcpListener::bind(("::", PORT)).await;
        let listener = match listener {
            Ok(listener) => listener,
            Err(_) => TcpListener::bind(("0.0.0.0", PORT)).await.unwrap(),
        };
        fs::write("/tmp/writable", "x").unwrap();
        fs::write(format!("{MOUNT}/ready"), "yes").unwrap();
        say("serving");
        loop {
            tokio::select! {
                connection = listener.accept() => {
                    let (mut stream, _) = connection.unwrap();
                    stream.write_all(GREETING.as_bytes()).await.unwrap();
                }
                _ = terminate.recv() => break,
            }
        }
        say("terminated");
    });
}

fn ask(name: &str) {
    let mut text = String::new();
    TcpStream::connect((name, PORT))
        .and_then(|mut stream| stream.read_to_string(&mut text))
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(text, GREETING);
    say(&format!("{name} answered"));
}

fn resolve(name: &str) {
    let addresses = (name, PORT)
        .to_socket_addrs()
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(addresses.len() > 0);
    say(&format!("{name} resolved"));
}

#[expect(clippy::print_stdout, reason = "the container's log")]
fn say(text: &str) {
    println!("{text}");
}
