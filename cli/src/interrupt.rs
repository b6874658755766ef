//! Ctrl-C: the first asks the command to stop and clean up, the second ends it.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::error::{CommandError, ErrorKind};
use crate::ui::Ui;

/// SIGINT, SIGTERM and SIGHUP, which mean the same to a command
#[derive(Debug)]
pub(crate) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Interrupts {
    /// From now on signals do not end the process
    pub(crate) fn catch() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Cancels at the first signal, in a task of its own so that a busy command learns of it; returns at the second
    pub(crate) async fn watch(mut self, ui: Ui, cancel: CancellationToken) -> CommandError {
        let (second, twice) = oneshot::channel();
        tokio::spawn(async move {
            self.next().await;
            ui.note("Interrupted, cleaning up. Interrupt again to stop at once.");
            cancel.cancel();
            self.next().await;
            // Nobody waits for it when the command has ended meanwhile.
            let _ = second.send(());
        });
        if twice.await.is_err() {
            // The runtime is going down.
            return std::future::pending().await;
        }
        CommandError::new(ErrorKind::Interrupted, "interrupted")
            .hint("what was begun is finished or undone by the next command on this site")
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
