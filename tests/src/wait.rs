//! Waiting for something to become true.

use std::time::{Duration, Instant};

/// For what should happen soon, on a machine that has other things to do.
pub const SOON: Duration = Duration::from_secs(30);
/// Between two looks.
pub(crate) const PAUSE: Duration = Duration::from_millis(25);

/// Asks again and again until `check` gives a value; fails the test after [`SOON`], with what was last found.
///
/// # Panics
/// When it does not become true in time.
pub async fn eventually<T>(what: &str, mut check: impl AsyncFnMut() -> Result<T, String>) -> T {
    let started = Instant::now();
    loop {
        match check().await {
            Ok(value) => return value,
            Err(found) => assert!(
                started.elapsed() < SOON,
                "{what}: not within {} s; last found: {found}",
                SOON.as_secs()
            ),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Result of `future`; fails the test if it takes longer than `limit`.
///
/// # Panics
/// When it takes longer.
pub async fn within<T>(what: &str, limit: Duration, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(limit, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {} s", limit.as_secs_f32()),
    }
}
