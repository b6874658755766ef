//! Tasks in one thread, polled in an order that a seed gives. There is no clock: what waits for a time waits for ever.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Wake, Waker},
};

use tokio::runtime::{Builder, Runtime};

use super::Random;

/// Numbers of tasks that have been woken.
type Woken = Arc<Mutex<Vec<usize>>>;

struct Task {
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    waker: Waker,
    flag: Arc<Flag>,
}

struct Flag {
    number: usize,
    set: AtomicBool,
    woken: Woken,
}

impl Flag {
    fn set(&self) {
        if !self.set.swap(true, Ordering::Relaxed) {
            self.woken.lock().unwrap().push(self.number);
        }
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.set();
    }
}

/// All tasks of a simulation.
pub(super) struct Executor {
    tasks: Vec<Task>,
    woken: Woken,
    /// Nothing runs in it: it is where timers can be made, none of which ever fires.
    runtime: Runtime,
}

impl Executor {
    pub(super) fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_time().build();
        Self {
            tasks: Vec::new(),
            woken: Woken::default(),
            runtime: runtime.unwrap(),
        }
    }

    pub(super) fn spawn(&mut self, future: impl Future<Output = ()> + 'static) {
        let flag = Arc::new(Flag {
            number: self.tasks.len(),
            set: AtomicBool::new(false),
            woken: self.woken.clone(),
        });
        flag.set();
        self.tasks.push(Task {
            future: Some(Box::pin(future)),
            waker: flag.clone().into(),
            flag,
        });
    }

    pub(super) fn is_idle(&self) -> bool {
        self.woken.lock().unwrap().is_empty()
    }

    /// Polls one of the woken tasks; returns its number, if there was one.
    pub(super) fn step(&mut self, random: &mut Random) -> Option<usize> {
        let number = {
            let mut woken = self.woken.lock().unwrap();
            let count = woken.len() as u64;
            (count > 0).then(|| woken.swap_remove(random.below(count) as usize))?
        };
        let _entered = self.runtime.enter();
        let task = &mut self.tasks[number];
        task.flag.set.store(false, Ordering::Relaxed);
        if let Some(future) = &mut task.future {
            let mut cx = Context::from_waker(&task.waker);
            if future.as_mut().poll(&mut cx).is_ready() {
                task.future = None;
            }
        }
        Some(number)
    }
}
