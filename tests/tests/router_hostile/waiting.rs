//! Readers that do not read, or read little.

use super::*;

/// Less than the router keeps of a message whatever else waits.
const LITTLE: usize = 200 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_of_one_connection_is_limited_and_readers_that_move_go_on() {
    let mut config = mesh::interior("r0");
    let (mut edges, port) = listener("edges", Role::Edge);
    // The peers do not speak when they have nothing to say.
    edges.idle_timeout = Duration::ZERO;
    config.put_listener(edges);
    let router = TestRouter::start(config).await;
    let memory = router.resident_memory();
    let mut reader = Peer::named(port, "reader").await;
    reader.consume("read").await;
    let mut sender = Peer::named(port, "sender").await;
    // The second time shows that there is room again once those are gone for whom it waited, and that more than twice
    // as much does not come in at all.
    let rounds = [
        (150, 2048, 20..50, 450_000_000),
        (240, 2400, 100..200, 750_000_000),
    ];
    for (messages, kibibytes, expected, most) in rounds {
        let producer = sender.produce().await;
        let slow = SlowReader::new(&router, port, &mut sender).await;
        let message = stream("stuck", kibibytes * 1024);
        let broken_off = too_much_waits(&router, port, &mut sender, producer, message, messages);
        let broken_off = broken_off.await;
        assert!(expected.contains(&broken_off.len()), "{broken_off:?}");
        let last = broken_off.last().copied().unwrap_or_default();
        assert!(
            last < broken_off.len() + 10,
            "the oldest go: {broken_off:?}"
        );
        slow.has_everything(&mut sender).await;
        // Others on the same connection, of which less waits at a time than any may have.
        for _ in 0..10 {
            let delivery = sender.start(producer);
            sender.send(delivery, stream("read", LITTLE), true).await;
            let mut received = 0;
            while received < LITTLE {
                if let Event::Transfer { payload, .. } = reader.event().await {
                    received += payload.len();
                }
            }
        }
        let grown = router.resident_memory().saturating_sub(memory);
        assert!(grown < most, "{grown} octets more");
    }
    let log = router.log();
    let warned = log
        .lines()
        .filter(|line| line.contains("too much waits for its readers"));
    // Once a minute.
    assert!((1..=2).contains(&warned.count()), "{log}");
}

/// A stream with a large window whose reader takes octets all the time, but few.
struct SlowReader {
    delivery: DeliveryKey,
    reading: JoinHandle<usize>,
    hurry: Arc<AtomicBool>,
}

impl SlowReader {
    /// Frames that it takes at a time, and how often.
    const FRAMES: u32 = 4;
    const PERIOD: Duration = Duration::from_millis(250);
    const LEN: usize = 12 * 1024 * 1024;
    /// Section-number by which it grants a window of 16 MiB.
    const WINDOW: u32 = 256;

    /// Almost all of the stream waits in the router afterwards.
    async fn new(router: &TestRouter, port: u16, sender: &mut Peer) -> Self {
        let mut reader = Peer::slow(port, "slow", Self::FRAMES).await;
        reader.consume("slow").await;
        router.until_addresses(&["slow"]).await;
        let mut octets = stream("slow", Self::LEN);
        let producer = sender.produce().await;
        let delivery = sender.start(producer);
        let first = octets.split_to(60 * 1024);
        sender.send(delivery, first, false).await;
        let begun = reader
            .until(|event| matches!(event, Event::Transfer { .. }))
            .await;
        let Event::Transfer {
            delivery: arriving, ..
        } = begun
        else {
            unreachable!("waited for");
        };
        let window = DeliveryState::Received {
            section_number: Self::WINDOW,
            section_offset: 0,
        };
        reader.engine().disposition(arriving, Some(window), false);
        let hurry = Arc::new(AtomicBool::new(false));
        let reading = tokio::spawn(Self::read(reader, hurry.clone()));
        sender
            .until(
                |event| matches!(event, Event::Disposition { delivery: of, .. } if *of == delivery),
            )
            .await;
        sender.send(delivery, octets, false).await;
        Self {
            delivery,
            reading,
            hurry,
        }
    }

    /// Octets until the end.
    async fn read(mut reader: Peer, hurry: Arc<AtomicBool>) -> usize {
        loop {
            let wait = if hurry.load(Ordering::Relaxed) {
                Duration::from_millis(1)
            } else {
                Self::PERIOD
            };
            for event in reader.events_within(wait).await {
                if let Event::Transfer { more, aborted, .. } = event {
                    assert!(!aborted, "it is broken off");
                    if !more {
                        return reader.received();
                    }
                }
            }
            reader.release(Self::FRAMES);
        }
    }

    async fn has_everything(self, sender: &mut Peer) {
        self.hurry.store(true, Ordering::Relaxed);
        sender.send(self.delivery, Bytes::new(), true).await;
        let received = within("the slow reader reads", 2 * SOON, self.reading)
            .await
            .expect("it does not panic");
        assert!(received > Self::LEN, "{received}");
    }
}

/// Sends more to one consumer than may wait, sees some broken off, and lets the consumer go. Which ones.
async fn too_much_waits(
    router: &TestRouter,
    port: u16,
    sender: &mut Peer,
    producer: LinkId,
    message: Bytes,
    messages: usize,
) -> Vec<usize> {
    // It says that it wants messages, and never reads one.
    let mut stuck = Peer::named(port, "stuck").await;
    stuck.consume("stuck").await;
    router.until_addresses(&["stuck", "read"]).await;
    let mut sent = Vec::new();
    for _ in 0..messages {
        assert!(sender.engine().credit(producer) > 0);
        let delivery = sender.start(producer);
        sender.send(delivery, message.clone(), true).await;
        sent.push(delivery);
    }
    let mut broken_off = Vec::new();
    let mut settled = 0;
    let mut stuck = Some(stuck);
    while settled < messages {
        let Event::Disposition {
            delivery,
            state,
            settled: true,
            ..
        } = sender.event().await
        else {
            continue;
        };
        let Some(index) = sent.iter().position(|sent| *sent == delivery) else {
            continue;
        };
        settled += 1;
        if let Some(DeliveryState::Rejected(Some(condition))) = state {
            assert_eq!(condition.condition, "amqp:resource-limit-exceeded");
            broken_off.push(index);
            stuck = None;
        } else {
            assert!(stuck.is_none(), "nobody reads: {state:?}");
        }
    }
    broken_off.sort_unstable();
    broken_off
}

/// A message of so many octets that is marked as one with a window of its own.
fn stream(address: &str, len: usize) -> Bytes {
    message(address, STREAMING | DISABLE_Q2, len)
}
