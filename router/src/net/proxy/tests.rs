//! Proxies that do their part, and others.

use std::collections::HashMap;

use tokio::{net::TcpListener, task::JoinHandle};

use super::*;

fn environment(variables: &[(&str, &str)]) -> Environment {
    let variables: HashMap<&str, &str> = variables.iter().copied().collect();
    Environment::read(|name| variables.get(name).map(|value| (*value).to_owned()))
}

/// A proxy that reads the head of a request and says something.
async fn proxy(answer: &'static [u8]) -> (Proxy, JoinHandle<(String, TcpStream)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(tcp.read_u8().await.unwrap());
        }
        // In pieces: heads come cut anywhere.
        for piece in answer.chunks(7) {
            tcp.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        (String::from_utf8(request).unwrap(), tcp)
    });
    let proxy = Proxy {
        port,
        ..Proxy::of_url("http://who:se%20cret@127.0.0.1:1/").unwrap()
    };
    (proxy, task)
}

#[tokio::test]
async fn a_tunnel_begins_right_behind_the_answer() {
    let (proxy, task) =
        proxy(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nfrom the peer").await;
    let mut tcp = proxy.connect("fd00::1", 5671).await.unwrap();
    let (request, _other) = task.await.unwrap();
    assert_eq!(
        request,
        "CONNECT [fd00::1]:5671 HTTP/1.1\r\nHost: [fd00::1]:5671\r\nProxy-Authorization: Basic d2hvOnNlIGNyZXQ=\r\n\r\n"
    );
    let mut first = [0; 13];
    tcp.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"from the peer");
}

#[tokio::test]
async fn what_proxies_do_wrong_is_named() {
    for (answer, expected) in [
        (
            &b"HTTP/1.1 403 Not\x07 for you\r\nContent-Length: 9\r\n\r\nforbidden"[..],
            "refuses to connect to peer.example:5671: 403 Not for you",
        ),
        (
            b"HTTP/1.0 407 Proxy Authentication Required\r\n\r\n",
            "wants a user name and password, or other ones (407)",
        ),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not answer in HTTP"),
        (b"HTTP/1.1 20 OK\r\n\r\n", "does not answer in HTTP"),
        (b"HTTP/1.1 \r\n\r\n", "does not answer in HTTP"),
        (
            b"HTTP/1.1 200 OK\r\nnever ends",
            "broke off: unexpected end",
        ),
        (b"", "broke off: unexpected end"),
    ] {
        let (proxy, task) = proxy(answer).await;
        let closed = tokio::spawn(async move { drop(task.await) });
        let error = proxy
            .connect("peer.example", 5671)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
        assert!(error.contains(&proxy.to_string()), "{error}");
        assert!(!error.contains("who") && !error.contains("cret"), "{error}");
        closed.await.unwrap();
    }
    let (proxy, task) = proxy(b"").await;
    drop(task);
    let endless = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy {
        port: endless.local_addr().unwrap().port(),
        ..proxy
    };
    let flood = tokio::spawn(async move {
        let (mut tcp, _) = endless.accept().await.unwrap();
        let line = [&b"HTTP/1.1 200 OK\r\nX: "[..], &[b'x'; 20_000]].concat();
        let _ = tcp.write_all(&line).await;
        let _ = tcp.read_to_end(&mut Vec::new()).await;
    });
    let error = proxy.connect("peer.example", 5671).await.unwrap_err();
    assert!(matches!(error, ProxyError::Garbage { .. }), "{error}");
    flood.await.unwrap();
    // Nobody there.
    let error = proxy.connect("peer.example", 5671).await.unwrap_err();
    assert!(matches!(error, ProxyError::Unreachable { .. }), "{error}");
}

#[test]
fn the_environment_is_read_as_other_programs_do() {
    let proxy = |variables: &[(&str, &str)], host| {
        environment(variables)
            .proxy_for(host, 55671)
            .unwrap()
            .map(|proxy| proxy.to_string())
    };
    let far = "far.example";
    assert_eq!(proxy(&[], far), None);
    assert_eq!(proxy(&[("HTTPS_PROXY", " ")], far), None);
    assert_eq!(proxy(&[("HTTP_PROXY", "http://p:1")], far), None);
    for (variables, expected) in [
        (&[("HTTPS_PROXY", "http://p:3128")][..], "p:3128"),
        (&[("https_proxy", "p.example:3128")], "p.example:3128"),
        (
            &[("all_proxy", "http://u:p@[fd00::2]:8080/x")],
            "[fd00::2]:8080",
        ),
        (
            &[("ALL_PROXY", "http://a:1"), ("HTTPS_PROXY", "HTTP://p")],
            "p:80",
        ),
    ] {
        assert_eq!(
            proxy(variables, far).as_deref(),
            Some(expected),
            "{variables:?}"
        );
    }
    for here in [
        "localhost",
        "127.0.0.1",
        "127.8.8.8",
        "::1",
        "[::1]",
        "db.localhost",
        "::ffff:127.0.0.1",
    ] {
        assert_eq!(
            proxy(&[("HTTPS_PROXY", "http://p:3128")], here),
            None,
            "{here}"
        );
    }
}

#[test]
fn an_unusable_variable_is_named_and_shows_no_secret() {
    for (url, expected) in [
        ("socks5://u:secret@p:1", "its scheme is not http"),
        ("https://u:secret@p:1", "its scheme is not http"),
        ("http://u:secret@", "its host is missing"),
        ("http://u:secret@p:0", "its port"),
        ("http://u:secret@p:http", "its port"),
        ("http://u:%ssecret@p", "its password is malformed"),
        ("http://secret%2@p", "its user name is malformed"),
        ("http://[secret", "its host is malformed"),
    ] {
        let environment = environment(&[("HTTPS_PROXY", url), ("NO_PROXY", "near.example")]);
        let error = environment
            .proxy_for("far.example", 1)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(expected) && error.contains("HTTPS_PROXY"),
            "{url}: {error}"
        );
        assert!(
            !format!("{error}{environment:?}").contains("secret"),
            "{error} {environment:?}"
        );
        assert_eq!(environment.proxy_for("near.example", 1).unwrap(), None);
    }
    let proxy = Proxy::of_url("http://u:secret@p:1").unwrap();
    assert!(!format!("{proxy:?}").contains("Basic"));
}

#[test]
fn exceptions_are_domains_addresses_networks_and_ports() {
    let rules = "example.com, .corp.example *.wild.example,10.0.0.0/8,192.168.1.7,[fd00::]/32,fe80::1,only.example:443";
    let bypass = Bypass::parse(rules);
    for (host, covered) in [
        ("example.com", true),
        ("a.b.EXAMPLE.com.", true),
        ("notexample.com", false),
        ("example.com.evil.org", false),
        ("corp.example", true),
        ("x.corp.example", true),
        ("x.wild.example", true),
        ("10.255.0.1", true),
        ("::ffff:10.1.2.3", true),
        ("11.0.0.1", false),
        ("192.168.1.7", true),
        ("192.168.1.70", false),
        ("[fd00:1::1]", false),
        ("fd00::1", true),
        ("fe80::1", true),
        ("fe80::2", false),
        ("only.example", false),
    ] {
        assert_eq!(bypass.covers(host, 55671), covered, "{host}");
    }
    assert!(bypass.covers("only.example", 443));
    assert!(Bypass::parse("*").covers("anything", 1));
    for nothing in ["", ",,", ".", "a:b", "10.0.0.0/33", ":443"] {
        assert!(!Bypass::parse(nothing).covers("10.0.0.1", 443), "{nothing}");
        assert!(
            !Bypass::parse(nothing).covers("far.example", 443),
            "{nothing}"
        );
    }
}
