//! Commands of the demo, run as a user would type them: this program's own file, in processes of its own.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use crate::error::{CommandError, ErrorKind};
use crate::ui::Ui;

/// For one command; the longest is `init`, which has limits of its own
const DEADLINE: Duration = Duration::from_secs(150);
/// For a command to roll back after it was interrupted
const ROLL_BACK: Duration = Duration::from_secs(60);
/// For the rest of a command's output once it has ended
const LAST_OUTPUT: Duration = Duration::from_secs(1);
/// For the backend to say where it listens
const START: Duration = Duration::from_secs(10);
/// More is not expected of any command
const LONGEST_OUTPUT: u64 = 1 << 20;

/// Runs and shows commands
#[derive(Clone, Debug)]
pub(super) struct Shell {
    pub(super) ui: Ui,
    pub(super) executable: PathBuf,
    pub(super) cancel: CancellationToken,
}

impl Shell {
    /// Words between the commands
    pub(super) fn say(&self, text: &str) {
        self.ui.line(format!("\n# {text}"));
    }

    /// Shows a command line
    pub(super) fn show(&self, line: &str) {
        self.ui.line(format!("$ {line}"));
    }

    /// Shows and runs `skupper <words>`, and shows what it prints
    pub(super) async fn skupper(&self, words: &[&str]) -> Result<(), CommandError> {
        self.check_interrupted()?;
        let result = self.run(words, &self.cancel).await;
        self.check_interrupted()?;
        result
    }

    /// The same for cleaning up: an interruption does not stop it
    pub(super) async fn skupper_regardless(&self, words: &[&str]) -> Result<(), CommandError> {
        self.run(words, &CancellationToken::new()).await
    }

    pub(super) fn check_interrupted(&self) -> Result<(), CommandError> {
        if self.cancel.is_cancelled() {
            return Err(CommandError::new(ErrorKind::Interrupted, "interrupted"));
        }
        Ok(())
    }

    /// Starts the backend in the background; gives it and its first line of output
    pub(super) async fn start(&self, words: &[&str]) -> Result<(Child, String), CommandError> {
        self.show(&format!("{} &", command_line(words)));
        let failed =
            |reason: String| CommandError::failed(format!("'{}': {reason}", command_line(words)));
        // It makes a session of its own, which the leader of a process group may not.
        let mut child = self
            .command(words)
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let Some(stdout) = child.stdout.take() else {
            return Err(failed("no output".to_owned()));
        };
        let mut line = String::new();
        let mut reader = BufReader::new(stdout.take(LONGEST_OUTPUT));
        match tokio::time::timeout(START, reader.read_line(&mut line)).await {
            Ok(Ok(length)) if length > 0 => Ok((child, line.trim_end().to_owned())),
            Ok(Ok(_)) => Err(failed("it ended at once".to_owned())),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed(format!("it did not start within {START:?}"))),
        }
    }

    async fn run(&self, words: &[&str], cancel: &CancellationToken) -> Result<(), CommandError> {
        let line = command_line(words);
        self.show(&line);
        let failed = |reason: String| CommandError::failed(format!("'{line}' {reason}"));
        // In a process group of its own: Ctrl-C is for the demo, which passes it on once.
        let mut child = self
            .command(words)
            .process_group(0)
            .spawn()
            .map_err(|error| failed(format!("did not start: {error}")))?;
        let output = child
            .stdout
            .take()
            .map(|stdout| tokio::spawn(forward(self.ui.clone(), stdout)));
        let status: ExitStatus = tokio::select! {
            status = child.wait() => status,
            () = cancel.cancelled() => interrupt(&mut child).await,
            () = tokio::time::sleep(DEADLINE) => interrupt(&mut child).await,
        }
        .map_err(|error| failed(format!("could not be waited for: {error}")))?;
        if let Some(output) = output {
            // A process that the command left behind must not hold the demo up.
            let _ = tokio::time::timeout(LAST_OUTPUT, output).await;
        }
        if status.success() {
            Ok(())
        } else {
            Err(failed(format!("ended with {status}")))
        }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.executable);
        command
            .args(words)
            // its sites live for a moment: no unit, and no warning that there is none
            .env(crate::supervisor::VARIABLE, "detached")
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        command
    }
}

async fn forward(ui: Ui, stdout: impl AsyncRead + Unpin) {
    let mut lines = BufReader::new(stdout.take(LONGEST_OUTPUT)).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        ui.line(line);
    }
}

/// Asks a process to end, and waits for it; ends it after a while
pub(super) async fn interrupt(child: &mut Child) -> std::io::Result<ExitStatus> {
    if let Some(pid) = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw)
    {
        // It may have ended by itself; waiting tells.
        let _ = kill_process(pid, Signal::INT);
    }
    match tokio::time::timeout(ROLL_BACK, child.wait()).await {
        Ok(status) => status,
        Err(_) => {
            child.start_kill()?;
            child.wait().await
        }
    }
}

fn command_line(words: &[&str]) -> String {
    format!("skupper {}", words.join(" "))
}
