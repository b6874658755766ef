//! Workers: threads with a single-threaded runtime each.
//!
//! A connection or flow never changes its worker, so sockets, TLS state and protocol engines need no locks, and there is
//! no work stealing. Work is handed over by spawning on the other worker's runtime.

use std::{cell::Cell, fmt, io, thread};

use tokio::{runtime, sync::oneshot};

thread_local! {
    static CURRENT: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Index of the worker that runs the caller; none on other threads.
pub fn current() -> Option<usize> {
    CURRENT.get()
}

/// Where tasks of one worker are spawned.
#[derive(Clone)]
pub struct WorkerHandle {
    /// Index of the worker.
    pub index: usize,
    runtime: runtime::Handle,
}

impl WorkerHandle {
    /// Starts a task on this worker.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }
}

impl fmt::Debug for WorkerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WorkerHandle({})", self.index)
    }
}

/// A worker's thread and what ends it.
#[derive(Debug)]
struct Thread {
    stop: Option<oneshot::Sender<()>>,
    handle: Option<thread::JoinHandle<()>>,
}

/// Running workers; they end when this is dropped.
#[derive(Debug)]
pub struct Workers {
    threads: Vec<Thread>,
    /// Handles by index.
    pub handles: Vec<WorkerHandle>,
}

impl Workers {
    /// Starts `count` workers.
    ///
    /// # Errors
    /// When the system refuses a thread or an event queue.
    pub fn start(count: usize) -> io::Result<Self> {
        let mut workers = Self {
            threads: Vec::new(),
            handles: Vec::new(),
        };
        for index in 0..count.max(1) {
            // Batches of ready tasks are run before the sockets are polled again: what one batch produced is written
            // together.
            let runtime = runtime::Builder::new_current_thread()
                .enable_all()
                .event_interval(31)
                .build()?;
            workers.handles.push(WorkerHandle {
                index,
                runtime: runtime.handle().clone(),
            });
            let (stop, stopped) = oneshot::channel::<()>();
            let thread = thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || {
                    CURRENT.set(Some(index));
                    // Either outcome of the channel means: end.
                    let _ = runtime.block_on(stopped);
                })?;
            workers.threads.push(Thread {
                stop: Some(stop),
                handle: Some(thread),
            });
        }
        Ok(workers)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for thread in &mut self.threads {
            drop(thread.stop.take());
        }
        for thread in &mut self.threads {
            if let Some(handle) = thread.handle.take() {
                // A worker that panicked has ended too.
                let _ = handle.join();
            }
        }
    }
}
