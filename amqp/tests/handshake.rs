//! SASL, Open, Close and time-outs of two engines.
#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

mod common;

use std::time::{Duration, Instant};

use amqp::engine::{ClientSasl, Connection, ConnectionError, Event, Password, ServerSasl};
use amqp::sasl::{ANONYMOUS, EXTERNAL, OutcomeCode, PLAIN, SaslFrame};
use amqp::{Bytes, Condition, Symbol};
use common::{End, Pair, config, open, unhex};

fn with_sasl(client: ClientSasl, server: ServerSasl) -> Pair {
    let mut pair = Pair::with_sasl(config("client"), config("server"), client, server);
    pair.pump();
    pair
}

fn plain_server() -> ServerSasl {
    ServerSasl {
        mechanisms: vec![PLAIN, ANONYMOUS],
        required: true,
        external_identity: None,
        plain: Some(Box::new(|user, password| {
            user == "user" && password == "pass"
        })),
    }
}

fn plain(password: &str) -> ClientSasl {
    ClientSasl::Plain {
        user: "user".into(),
        password: Password::from(password),
    }
}

#[test]
fn every_mechanism_establishes_its_identity() {
    let certificate = || ServerSasl::external(Some("CN=peer".into()));
    let all = || ServerSasl {
        mechanisms: vec![ANONYMOUS, PLAIN, EXTERNAL],
        ..plain_server()
    };
    let auto = |external_available, plain| ClientSasl::Auto {
        external_available,
        plain,
    };
    let credentials = || Some(("user".to_owned(), Password::from("pass")));
    for (client, server, mechanism, identity) in [
        (ClientSasl::External, certificate(), "EXTERNAL", "CN=peer"),
        (
            ClientSasl::Anonymous { trace: "x".into() },
            ServerSasl::anonymous(),
            "ANONYMOUS",
            "anonymous",
        ),
        (plain("pass"), plain_server(), "PLAIN", "user"),
        (
            auto(true, credentials()),
            ServerSasl {
                external_identity: Some("me".into()),
                ..all()
            },
            "EXTERNAL",
            "me",
        ),
        (auto(false, credentials()), all(), "PLAIN", "user"),
        (auto(false, None), all(), "ANONYMOUS", "anonymous"),
        (
            auto(true, None),
            ServerSasl::anonymous(),
            "ANONYMOUS",
            "anonymous",
        ),
    ] {
        let mut pair = with_sasl(client, server);
        assert_eq!(pair.server.event(), Event::Authenticated);
        assert_eq!(pair.client.event(), Event::Authenticated);
        assert_eq!(pair.server.engine.authenticated_as(), Some(identity));
        assert_eq!(
            pair.server.engine.sasl_mechanism().map(Symbol::as_str),
            Some(mechanism)
        );
        assert_eq!(
            pair.client.engine.sasl_mechanism().map(Symbol::as_str),
            Some(mechanism)
        );
        pair.establish();
    }
}

#[test]
fn wrong_credentials_are_refused() {
    for (client, server) in [
        (plain("wrong"), plain_server()),
        (
            plain("pass"),
            ServerSasl {
                plain: None,
                ..plain_server()
            },
        ),
        (ClientSasl::External, ServerSasl::external(None)),
    ] {
        let mut pair = with_sasl(client, server);
        let refused = ConnectionError::Authentication(OutcomeCode::Auth);
        assert_eq!(pair.server.error, Some(refused.clone()));
        assert_eq!(pair.client.error, Some(refused));
        assert_eq!(pair.server.engine.authenticated_as(), None);
        assert!(pair.client.engine.is_closed() && pair.server.engine.is_closed());
        // The failed ends do nothing more.
        pair.server.engine.open(None);
        pair.client.engine.close(None);
        assert!(pair.server.drain(pair.now).is_empty() && pair.client.drain(pair.now).is_empty());
        assert_eq!(pair.client.engine.next_timeout(), None);
    }
}

#[test]
fn client_gives_up_without_a_common_mechanism() {
    let pair = with_sasl(ClientSasl::External, ServerSasl::anonymous());
    assert_eq!(
        pair.client.error,
        Some(ConnectionError::NoMechanism(vec![ANONYMOUS]))
    );
}

/// The SASL header and these frames.
fn sasl(frames: &[SaslFrame]) -> Vec<u8> {
    let mut octets = unhex("414d515003010000");
    for frame in frames {
        octets.extend(sasl_frame(frame));
    }
    octets
}

fn sasl_frame(frame: &SaslFrame) -> Vec<u8> {
    let mut body = amqp::BytesMut::new();
    frame.encode(&mut body);
    let mut octets = unhex("00000000 02010000");
    octets[3] = u8::try_from(8 + body.len()).unwrap();
    octets.extend_from_slice(&body);
    octets
}

fn init(mechanism: Symbol) -> SaslFrame {
    SaslFrame::Init {
        mechanism,
        initial_response: None,
        hostname: None,
    }
}

fn server(sasl: ServerSasl) -> End {
    End::new(Connection::server(config("server"), sasl, Instant::now()))
}

#[test]
fn mechanism_that_was_not_offered_is_refused() {
    for mechanism in [ANONYMOUS, Symbol::from("SCRAM-SHA-256")] {
        let mut server = server(ServerSasl {
            mechanisms: vec![EXTERNAL],
            ..ServerSasl::anonymous()
        });
        server.feed(&sasl(&[init(mechanism)]), Instant::now());
        assert_eq!(
            server.error,
            Some(ConnectionError::Authentication(OutcomeCode::Auth))
        );
    }
}

#[test]
fn init_without_response_is_accepted_or_challenged() {
    let now = Instant::now();
    let mut anonymous = server(ServerSasl::anonymous());
    anonymous.feed(&sasl(&[init(ANONYMOUS)]), now);
    assert_eq!(anonymous.event(), Event::Authenticated);

    let mut external = server(ServerSasl::external(Some("me".into())));
    external.feed(&sasl(&[init(EXTERNAL)]), now);
    assert_eq!(external.engine.authenticated_as(), Some("me"));

    let mut plain = server(plain_server());
    plain.feed(&sasl(&[init(PLAIN)]), now);
    plain.no_events();
    assert!(
        plain
            .drain(now)
            .ends_with(&sasl_frame(&SaslFrame::Challenge(Bytes::new())))
    );
    plain.feed(
        &sasl_frame(&SaslFrame::Response(Bytes::from_static(b"\0user\0pass"))),
        now,
    );
    assert_eq!(plain.engine.authenticated_as(), Some("user"));
}

#[test]
fn malformed_plain_responses_are_refused() {
    for response in [&b""[..], b"user", b"\0user", b"\0\xff\0pass", b"user\0pass"] {
        let mut server = server(plain_server());
        let initial_response = Some(Bytes::from_static(response));
        let init = SaslFrame::Init {
            mechanism: PLAIN,
            initial_response,
            hostname: None,
        };
        server.feed(&sasl(&[init]), Instant::now());
        assert_eq!(
            server.error,
            Some(ConnectionError::Authentication(OutcomeCode::Auth)),
            "{response:?}"
        );
    }
}

#[test]
fn sasl_frames_out_of_turn_end_the_connection() {
    let outcome = SaslFrame::Outcome {
        code: OutcomeCode::Ok,
        additional_data: None,
    };
    for frame in [
        outcome,
        SaslFrame::Response(Bytes::new()),
        SaslFrame::Mechanisms(vec![ANONYMOUS]),
    ] {
        let mut server = server(ServerSasl::anonymous());
        server.feed(&sasl(&[frame]), Instant::now());
        assert_eq!(server.error, Some(ConnectionError::SaslSequence));
    }
    let mut oversize = server(ServerSasl::anonymous());
    oversize.feed(&unhex("414d515003010000 00010000 02010000"), Instant::now());
    assert!(
        matches!(oversize.error, Some(ConnectionError::Protocol(_))),
        "{:?}",
        oversize.error
    );
    let mut transport_frame = server(ServerSasl::anonymous());
    transport_frame.feed(&unhex("414d515003010000 00000008 02000000"), Instant::now());
    assert_eq!(transport_frame.error, Some(ConnectionError::SaslSequence));
}

#[test]
fn empty_challenge_is_answered_once() {
    let now = Instant::now();
    let mut client = End::new(Connection::client(config("client"), plain("pass"), now));
    client.feed(&sasl(&[SaslFrame::Mechanisms(vec![PLAIN])]), now);
    assert_eq!(client.error, None);
    client.drain(now);
    let challenge = sasl_frame(&SaslFrame::Challenge(Bytes::new()));
    client.feed(&challenge, now);
    let response = SaslFrame::Response(Bytes::from_static(b"\0user\0pass"));
    assert_eq!(client.drain(now), sasl_frame(&response));
    client.feed(&challenge, now);
    assert_eq!(client.error, Some(ConnectionError::SaslSequence));
}

#[test]
fn client_names_the_host_in_the_init_unless_it_is_an_address() {
    for (hostname, sent) in [
        ("router.example", true),
        ("10.0.0.1", false),
        ("::1", false),
    ] {
        let mut config = config("client");
        config.open.hostname = Some(hostname.into());
        let now = Instant::now();
        let mut client = End::new(Connection::client(config, ClientSasl::External, now));
        client.feed(&sasl(&[SaslFrame::Mechanisms(vec![EXTERNAL])]), now);
        let hostname = sent.then(|| hostname.to_owned());
        let init = SaslFrame::Init {
            mechanism: EXTERNAL,
            initial_response: Some(Bytes::new()),
            hostname,
        };
        assert_eq!(client.drain(now), sasl(&[init]));
    }
}

#[test]
fn sasl_may_be_left_out_if_both_agree() {
    let optional = || ServerSasl {
        required: false,
        ..ServerSasl::anonymous()
    };
    let mut pair = with_sasl(ClientSasl::None, optional());
    assert_eq!(pair.server.event(), Event::Opened);
    assert_eq!(pair.server.engine.authenticated_as(), None);
    pair.server.engine.open(None);
    pair.pump();
    assert_eq!(pair.client.event(), Event::Opened);

    // With SASL it works as well.
    let mut pair = with_sasl(
        ClientSasl::Anonymous {
            trace: String::new(),
        },
        optional(),
    );
    pair.establish();

    let pair = with_sasl(ClientSasl::None, ServerSasl::anonymous());
    assert_eq!(pair.server.error, Some(ConnectionError::SaslRequired));
    assert_eq!(pair.client.error, Some(ConnectionError::SaslUnexpected));
}

#[test]
fn other_protocols_are_answered_with_the_right_header() {
    let now = Instant::now();
    for (required, header) in [(true, "414d515003010000"), (false, "414d515000010000")] {
        for hello in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"AMQP\x00\x00\x09\x01",
            b"AMQP\x02\x01\x00\x00",
        ] {
            let sasl = ServerSasl {
                required,
                ..ServerSasl::anonymous()
            };
            let mut server = End::new(Connection::server(config("server"), sasl, now));
            server.feed(hello, now);
            assert!(
                matches!(server.error, Some(ConnectionError::UnknownProtocol(_))),
                "{:?}",
                server.error
            );
            assert_eq!(server.drain(now), unhex(header));
            assert!(server.input.is_empty());
        }
    }
}

#[test]
fn handshake_survives_any_fragmentation() {
    for fragment in [1, 2, 3, 7, 50] {
        let mut pair = Pair::new(config("client"), config("server"));
        pair.fragment = fragment;
        pair.establish();
        assert_eq!(
            pair.client.engine.remote_open().unwrap().container_id,
            "server"
        );
        assert_eq!(
            pair.server.engine.remote_open().unwrap().container_id,
            "client"
        );
    }
}

#[test]
fn client_sends_header_and_open_in_one_burst_after_the_outcome() {
    let pair = with_sasl(
        ClientSasl::Anonymous { trace: "t".into() },
        ServerSasl::anonymous(),
    );
    let sent = &pair.client.sent;
    let amqp = unhex("414d515000010000");
    let at = sent.windows(8).position(|window| window == amqp).unwrap();
    assert_eq!(sent[at + 16..at + 19], [0x00, 0x53, 0x10]);
    // The server has sent no Open yet: the application decides.
    assert!(pair.server.sent.ends_with(&amqp));
}

#[test]
fn server_may_answer_with_another_open() {
    let mut pair = Pair::new(config("client"), config("server"));
    pair.pump();
    pair.server.engine.open(Some(open("other")));
    pair.pump();
    assert_eq!(
        pair.client.engine.remote_open().unwrap().container_id,
        "other"
    );
}

#[test]
fn close_is_answered() {
    let mut pair = Pair::opened(config("client"), config("server"));
    pair.client
        .engine
        .close(Some(Condition::new("amqp:connection:forced", "bye")));
    assert!(!pair.client.engine.is_closed());
    pair.pump();
    let error = Some(Condition::new("amqp:connection:forced", "bye"));
    assert_eq!(pair.server.event(), Event::Closed { error });
    assert_eq!(pair.client.event(), Event::Closed { error: None });
    assert!(pair.client.engine.is_closed() && pair.server.engine.is_closed());
    // Nothing goes out after a Close.
    pair.server.engine.begin();
    pair.server.engine.close(None);
    assert!(pair.server.drain(pair.now).is_empty());
}

#[test]
fn server_that_closes_at_once_opens_first() {
    let mut pair = Pair::new(config("client"), config("server"));
    pair.pump();
    pair.server.engine.close(Some(Condition::new(
        "amqp:resource-limit-exceeded",
        "disallowed",
    )));
    pair.pump();
    assert_eq!(pair.client.event(), Event::Authenticated);
    assert_eq!(pair.client.event(), Event::Opened);
    assert!(matches!(
        pair.client.event(),
        Event::Closed { error: Some(_) }
    ));
}

#[test]
fn simultaneous_closes_both_end() {
    let mut pair = Pair::opened(config("client"), config("server"));
    pair.client.engine.close(None);
    pair.server.engine.close(None);
    pair.pump();
    assert_eq!(pair.client.event(), Event::Closed { error: None });
    assert_eq!(pair.server.event(), Event::Closed { error: None });
    assert!(pair.client.engine.is_closed() && pair.server.engine.is_closed());
}

#[test]
fn idle_timeout_advertises_half_and_keep_alives_hold_the_connection() {
    let mut client = config("client");
    client.idle_timeout = Some(Duration::from_secs(16));
    let mut pair = Pair::opened(client, config("server"));
    assert_eq!(
        pair.server.engine.remote_open().unwrap().idle_time_out,
        Some(8000)
    );
    assert_eq!(
        pair.client.engine.remote_open().unwrap().idle_time_out,
        None
    );

    let before = pair.server.sent.len();
    pair.sleep(Duration::from_secs(60));
    assert_eq!(
        (pair.client.error.take(), pair.server.error.take()),
        (None, None)
    );
    // One empty frame every four seconds, and only from the end whose peer asked.
    assert_eq!(
        pair.server.sent[before..],
        unhex("0000000802000000").repeat(15)
    );
    pair.client.no_events();
}

#[test]
fn silence_closes_the_connection_after_the_full_time() {
    let mut client = config("client");
    client.idle_timeout = Some(Duration::from_secs(16));
    let mut pair = Pair::opened(client, config("server"));
    let start = pair.now;
    assert_eq!(
        pair.client.engine.next_timeout(),
        Some(start + Duration::from_secs(16))
    );
    assert_eq!(
        pair.client
            .engine
            .handle_timeout(start + Duration::from_secs(15)),
        Ok(())
    );
    let error = pair
        .client
        .engine
        .handle_timeout(start + Duration::from_secs(16))
        .unwrap_err();
    let condition = Condition::new("amqp:resource-limit-exceeded", "local-idle-timeout expired");
    assert_eq!(error.condition(), condition);
    pair.pump();
    assert_eq!(
        pair.server.event(),
        Event::Closed {
            error: Some(condition)
        }
    );
    assert!(pair.client.engine.is_closed());
    assert_eq!(
        pair.client
            .engine
            .handle_timeout(start + Duration::from_secs(99)),
        Ok(())
    );
}

#[test]
fn traffic_of_any_kind_puts_the_timers_off() {
    let mut both = config("both");
    both.idle_timeout = Some(Duration::from_secs(16));
    let mut pair = Pair::opened(both.clone(), both);
    for _ in 0..20 {
        pair.sleep(Duration::from_secs(3));
        pair.client.engine.begin();
        pair.pump();
    }
    assert_eq!(
        (pair.client.error.take(), pair.server.error.take()),
        (None, None)
    );
    let keep_alive = unhex("0000000802000000");
    let empty = |sent: &[u8]| {
        sent.windows(8)
            .filter(|window| *window == keep_alive)
            .count()
    };
    // The Begin and its answer made keep-alives superfluous.
    assert_eq!((empty(&pair.client.sent), empty(&pair.server.sent)), (0, 0));
}

#[test]
fn a_partial_frame_alone_does_not_count_as_life_twice() {
    let mut server = config("server");
    server.idle_timeout = Some(Duration::from_secs(10));
    let mut pair = Pair::opened(config("client"), server);
    let start = pair.now;
    pair.server.feed(&[0, 0], start + Duration::from_secs(5));
    // Polled again without new octets.
    pair.server.feed(&[], start + Duration::from_secs(9));
    assert_eq!(
        pair.server.engine.next_timeout(),
        Some(start + Duration::from_secs(15))
    );
}

#[test]
fn open_and_close_during_the_sasl_exchange_wait_or_end_it() {
    let mut pair = Pair::new(config("client"), config("server"));
    pair.server.engine.open(Some(open("early")));
    assert!(pair.server.drain(pair.now).is_empty());
    pair.pump();
    assert_eq!(
        pair.client.engine.remote_open().unwrap().container_id,
        "early"
    );

    let mut pair = Pair::new(config("client"), config("server"));
    pair.server.engine.close(Some(Condition::new(
        "amqp:not-allowed",
        "timeout waiting for initial handshake",
    )));
    assert!(pair.server.engine.is_closed());
    assert!(pair.server.drain(pair.now).is_empty());
}

#[test]
fn a_server_sends_its_header_to_clients_that_wait_for_it() {
    let now = Instant::now();
    let sasl = ServerSasl {
        required: false,
        ..ServerSasl::anonymous()
    };
    let mut server = End::new(Connection::server(config("server"), sasl, now));
    server.feed(b"AMQP\x00\x01\x00\x00", now);
    assert_eq!(server.drain(now), b"AMQP\x00\x01\x00\x00");
    // The Open brings no second one.
    server.engine.open(None);
    let sent = server.drain(now);
    assert!(!sent.is_empty() && !sent.starts_with(b"AMQP"), "{sent:?}");
}
