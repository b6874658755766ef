//! Sessions and links by the thousand.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_sessions_and_links_are_limited_and_leave_nothing() {
    let mut target = Attacked::new().await;
    let memory = target.attacked().resident_memory();
    let hello = [
        AMQP,
        &frame(0, &Performative::Open(Box::new(open("flood")))),
    ]
    .concat();

    // More sessions than one peer may have.
    let mut peer = connect(target.clients).await;
    let mut octets = hello.clone();
    for channel in 0..3000 {
        octets.extend(frame(channel, &begin()));
    }
    let _ = peer.write_all(&octets).await;
    over(&mut peer).await;

    // Links to addresses that nobody else knows: the network learns them, and forgets them with the peer.
    let mut peer = connect(target.clients).await;
    let mut octets = [&hello[..], &frame(0, &begin())].concat();
    for handle in 0..3000_u32 {
        let attach = Attach {
            name: format!("link-{handle}"),
            handle,
            role: LinkRole::Receiver,
            source: Some(Source {
                address: Some(format!("flood-{handle}")),
                ..Source::default()
            }),
            target: Some(Target::default()),
            ..Attach::default()
        };
        octets.extend(frame(0, &Performative::Attach(Box::new(attach))));
    }
    let (mut from, mut to) = peer.split();
    let reading = async {
        // The answers have to be taken, or the router stops reading.
        let mut last = Vec::new();
        while !last.windows(9).any(|octets: &[u8]| octets == b"link-2999") {
            // The name may come in two parts.
            last.drain(..last.len().saturating_sub(8));
            assert!(from.read_buf(&mut last).await.unwrap() > 0);
        }
    };
    within("all links are answered", LIMIT, async {
        tokio::join!(reading, async { to.write_all(&octets).await.unwrap() })
    })
    .await;
    target.mesh.routers[0]
        .until("the flood is known", "router.address", |found| {
            found
                .iter()
                .any(|row| rows::text(row, "name").ends_with("flood-2999"))
        })
        .await;
    target.unharmed().await;
    drop(peer);
    for router in &target.mesh.routers {
        router
            .until("the flood is forgotten", "router.address", |found| {
                !found
                    .iter()
                    .any(|row| rows::text(row, "name").contains("flood-"))
            })
            .await;
    }
    let grown = target.attacked().resident_memory().saturating_sub(memory);
    assert!(grown < 100_000_000, "{grown} octets more");
    target.unharmed().await;
}
