//! Pages of a router's HTTP listener.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{SOON, tcp::connect, within};

/// Status and body of a page.
///
/// # Panics
/// When there is no answer.
pub async fn page(port: u16, path: &str) -> (u16, String) {
    let mut http = connect(port).await;
    let request = format!("GET {path} HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n");
    http.write_all(request.as_bytes())
        .await
        .expect("the request is sent");
    let mut answer = String::new();
    within(path, SOON, http.read_to_string(&mut answer))
        .await
        .expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    (status.expect("a status"), body.to_owned())
}

/// The value of a metric.
///
/// # Panics
/// When it is not there.
pub async fn metric(port: u16, name: &str) -> u64 {
    let (status, text) = page(port, "/metrics").await;
    assert_eq!(status, 200, "{text}");
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = value.and_then(|value| value.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no metric {name} in {text}"))
}
