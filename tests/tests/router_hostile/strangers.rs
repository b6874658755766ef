//! Peers that do not finish what they begin, are too many, send no frames, or belong to others.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_that_do_not_finish_hold_a_bounded_number_of_places_for_a_bounded_time() {
    let mut target = Attacked::new().await;
    let before = target.failed().await;
    let mut silent = Vec::new();
    for (port, octets) in [
        // The beginning of a handshake, a router that says nothing behind it, half a frame.
        (target.links(), &b"\x16\x03\x01"[..]),
        (target.links(), b""),
        (target.clients, b"AMQP"),
        (target.clients, AMQP),
        (
            target.clients,
            b"AMQP\x00\x01\x00\x00\x00\x00\x01\x00\x02\x00\x00\x00\x00\x53\x10",
        ),
        (target.routers, SASL),
    ] {
        for _ in 0..60 {
            let mut peer = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
                .await
                .unwrap();
            peer.write_all(octets).await.unwrap();
            silent.push(peer);
        }
    }
    // Far more than there are places, of one listener.
    for _ in 0..300 {
        silent.push(
            TcpStream::connect((Ipv4Addr::LOCALHOST, target.links()))
                .await
                .unwrap(),
        );
    }
    // Whoever does its part is served meanwhile.
    let folder = target.mesh.certificates.as_ref().unwrap().issue("r2");
    let mut config = mesh::interior("r2");
    config.put_ssl_profile(mesh::profile(&folder));
    config.put_connector(secure_connector(connector(
        "to-r1",
        target.links(),
        Role::InterRouter,
    )));
    let welcome = TestRouter::start(config).await;
    welcome.until_nodes(&["r0", "r1"]).await;
    let count = silent.len() as u64;
    within("all silent peers are ended", LIMIT, async {
        for peer in &mut silent {
            over(peer).await;
        }
    })
    .await;
    drop(welcome);
    eventually("they are counted", async || {
        let failed = target.failed().await - before;
        if failed >= count {
            Ok(())
        } else {
            Err(format!("{failed} of {count}"))
        }
    })
    .await;
    // Who only looks whether the port is open is counted, and no reason for a warning.
    let warnings = target.warnings("connection refused");
    let counted = target.failed().await;
    for port in [target.links(), target.clients] {
        drop(connect(port).await);
    }
    eventually("the visits are counted", async || {
        match target.failed().await - counted {
            2 => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await;
    assert_eq!(target.warnings("connection refused"), warnings);
    // One line for each listener and reason.
    let slow = target.warnings("did not finish its handshake within");
    assert!((1..=3).contains(&slow), "{slow}");
    assert_eq!(target.warnings("others waited"), 1);
    target.mesh.routers[0].until_nodes(&["r1"]).await;
    target.unharmed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_holds_no_more_connections_than_it_may() {
    let mut target = Attacked::new().await;
    let opened = [
        AMQP,
        &frame(0, &Performative::Open(Box::new(open("greedy")))),
    ]
    .concat();
    let greet = async |port: u16| {
        let mut peer = connect(port).await;
        let _ = peer.write_all(&opened).await;
        let mut header = [0; 8];
        let read = within("an answer", SOON, peer.read_exact(&mut header)).await;
        read.ok().map(|_| peer)
    };
    let mut held = Vec::new();
    for _ in 0..FEW {
        held.push(greet(target.few).await.expect("there is room"));
    }
    for _ in 0..5 {
        assert!(greet(target.few).await.is_none());
    }
    let refused = target.metric("skupper_connections_refused_total").await;
    assert_eq!(refused, 5);
    assert_eq!(target.warnings("all that maxConnections allows"), 1);
    // Other listeners have room of their own, and who leaves makes some.
    assert!(greet(target.clients).await.is_some());
    held.pop();
    eventually("there is room again", async || {
        greet(target.few).await.map(drop).ok_or("none".to_owned())
    })
    .await;
    target.unharmed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_of_impossible_sizes_end_the_connection_and_cost_nothing() {
    let mut target = Attacked::new().await;
    let router = target.attacked();
    let memory = router.resident_memory();
    let opened = [
        AMQP,
        &frame(0, &Performative::Open(Box::new(open("hostile")))),
    ]
    .concat();
    let to_routers = [SASL, ANONYMOUS, &opened].concat();
    let frames: [&[u8]; 6] = [
        b"\xff\xff\xff\xff\x02\x00\x00\x00",
        b"\x7f\xff\xff\xff\x02\x00\x00\x00",
        b"\x00\x02\x00\x01\x02\x00\x00\x00",
        b"\x00\x00\x00\x03\x02\x00\x00\x00",
        b"\x00\x00\x00\x08\xff\x00\x00\x00",
        b"\x00\x00\x00\x08\x00\x00\x00\x00",
    ];
    for frame in frames {
        for (port, before) in [
            (target.clients, AMQP),
            (target.clients, &opened),
            (target.routers, &[SASL, ANONYMOUS, AMQP].concat()),
            (target.routers, &to_routers),
        ] {
            for _ in 0..10 {
                let mut peer = connect(port).await;
                // It may be gone already.
                let _ = peer.write_all(before).await;
                let _ = peer.write_all(frame).await;
                let _ = peer.write_all(&[0; 4096]).await;
                over(&mut peer).await;
            }
        }
    }
    let grown = router.resident_memory().saturating_sub(memory);
    assert!(grown < 30_000_000, "{grown} octets more");
    // Those that were open when it came, and one line for each kind.
    let violations = target.metric("skupper_protocol_violations_total").await;
    assert_eq!(violations, frames.len() as u64 * 2 * 10);
    let warnings = target.warnings("the peer broke the protocol");
    assert!((1..=3).contains(&warnings), "{warnings}");
    target.unharmed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_with_the_certificate_of_another_site_is_refused_and_named_once() {
    let mut target = Attacked::new().await;
    let foreign = Certificates::of("another-site");
    let ours = target.mesh.certificates.as_ref().unwrap();
    // It believes the listener, but its own certificate is of its own site.
    let folder = foreign.issue("edge-0");
    let mut profile = mesh::profile(&folder);
    profile.ca_cert_file = Some(ours.issue("authority").join("ca.crt"));
    let mut config = edge("edge-0");
    config.put_ssl_profile(profile);
    config.put_connector(secure_connector(connector(
        "uplink",
        target.edges,
        Role::Edge,
    )));
    let intruder = TestRouter::start(config).await;
    intruder
        .until_connector("uplink", "FAILED", "does not know the issuer")
        .await;
    // And one of this site is welcome at the same time.
    let mut config = edge("edge-1");
    config.put_ssl_profile(mesh::profile(&ours.issue("edge-1")));
    config.put_connector(secure_connector(connector(
        "uplink",
        target.edges,
        Role::Edge,
    )));
    let welcome = TestRouter::start(config).await;
    welcome.until_connector("uplink", "SUCCESS", "").await;
    eventually("it comes again and again", async || {
        let failed = target.failed().await;
        if failed >= 3 {
            Ok(())
        } else {
            Err(failed.to_string())
        }
    })
    .await;
    assert_eq!(
        target.warnings("not issued by a certificate of caCertFile"),
        1
    );
    target.unharmed().await;
}
