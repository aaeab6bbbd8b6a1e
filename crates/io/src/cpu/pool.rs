//! Threads for processor time.

use std::{collections::VecDeque, io, thread};

use super::{Cpu, Job};
use crate::sync::{
    Arc, Condvar, Mutex,
    atomic::{AtomicUsize, Ordering},
};

/// How much the threads step back for others, on the scale of `nice`: connections come first.
///
/// More did not help: beside two such threads that never rest, a thread that wakes every 400 µs had its turn after
/// 0.15 ms at the 99th percentile with 5, 0.13 ms with 19 and 0.17 ms with `SCHED_IDLE`, but on a host where others
/// want the processors too the pool got 0.6 and 0.3 of the work done. And who is preempted in a lock holds it longer.
const NICE: i32 = 5;

/// A fixed number of threads that run jobs in the order of their coming, those that a guest waits for first.
///
/// The queue has no bound of its own: each job's maker holds a permit for it. Dropping the pool runs
/// what is queued and waits for its threads.
pub struct CpuPool {
    shared: Arc<Shared>,
    threads: Vec<thread::JoinHandle<()>>,
}

struct Shared {
    queue: Mutex<Queue>,
    more: Condvar,
    /// Jobs queued or running.
    depth: AtomicUsize,
}

#[derive(Default)]
struct Queue {
    /// Run before all others.
    first: VecDeque<Job>,
    jobs: VecDeque<Job>,
    closed: bool,
}

impl CpuPool {
    /// A pool of `threads` threads (at least one).
    pub fn new(threads: usize) -> io::Result<Self> {
        Self::named("esker-cpu", threads)
    }

    /// A pool of `threads` threads (at least one) whose names begin so.
    pub(crate) fn named(name: &str, threads: usize) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue::default()),
            more: Condvar::new(),
            depth: AtomicUsize::new(0),
        });
        // The pool owns the threads from the first on, so that a failure below ends those started.
        let mut pool = Self { shared, threads: Vec::new() };
        for number in 0..threads.max(1) {
            let shared = pool.shared.clone();
            let thread =
                thread::Builder::new().name(format!("{name}-{number}")).spawn(move || shared.work())?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    /// How many threads it has.
    pub fn threads(&self) -> usize {
        self.threads.len()
    }
}

impl Cpu for CpuPool {
    fn depth(&self) -> usize {
        self.shared.depth.load(Ordering::Relaxed)
    }

    fn submit(&self, job: Job) {
        self.shared.depth.fetch_add(1, Ordering::Relaxed);
        self.shared.queue.lock().jobs.push_back(job);
        self.shared.more.notify_one();
    }

    fn submit_first(&self, job: Job) {
        self.shared.depth.fetch_add(1, Ordering::Relaxed);
        self.shared.queue.lock().first.push_back(job);
        self.shared.more.notify_one();
    }
}

impl Drop for CpuPool {
    fn drop(&mut self) {
        self.shared.queue.lock().closed = true;
        self.shared.more.notify_all();
        let me = thread::current().id();
        for thread in self.threads.drain(..) {
            // A job may hold the last handle of the pool; its thread cannot wait for itself.
            if thread.thread().id() != me {
                // Jobs' panics are caught in `work`, so this fails for nothing that matters.
                let _ = thread.join();
            }
        }
    }
}

impl Shared {
    fn work(&self) {
        // On Linux this is the calling thread's own niceness. Not being allowed to is no harm.
        let _ = rustix::process::nice(NICE);
        while let Some(job) = self.next() {
            // A panic is the job's own: `run` passes it on to the waiter, whose answer never comes.
            let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).is_err();
            self.depth.fetch_sub(1, Ordering::Relaxed);
            if panicked {
                tracing::error!("a job of the processor pool panicked");
            }
        }
    }

    /// The next job; none when the pool is closed and its queue empty.
    fn next(&self) -> Option<Job> {
        let mut queue = self.queue.lock();
        loop {
            let job = queue.first.pop_front();
            if let Some(job) = job.or_else(|| queue.jobs.pop_front()) {
                return Some(job);
            }
            if queue.closed {
                return None;
            }
            queue = self.more.wait(queue);
        }
    }
}

#[cfg(test)]
mod tests;
