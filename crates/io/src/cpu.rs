//! Processor time for work that would hold up a connection or the runtime: compression, hashing.

mod pool;

pub use pool::CpuPool;

use futures_channel::oneshot;

use crate::BoxFuture;

/// A job for the pool.
pub type Job = Box<dyn FnOnce() + Send>;

/// Runs jobs somewhere.
pub trait Cpu: Send + Sync {
    /// Takes a job; it runs once, at some time.
    fn submit(&self, job: Job);

    /// How many jobs run or wait for their turn.
    fn depth(&self) -> usize {
        0
    }

    /// Takes a short job that a guest waits for: it runs before all that were submitted without hurry.
    fn submit_first(&self, job: Job) {
        self.submit(job);
    }
}

/// Runs `job` on `cpu` and waits for its answer.
pub fn run<T: Send + 'static>(
    cpu: &dyn Cpu,
    job: impl FnOnce() -> T + Send + 'static,
) -> BoxFuture<'static, T> {
    let (job, answer) = answering(job);
    cpu.submit(job);
    answer
}

/// As [`run`], before all jobs that can wait.
pub fn run_first<T: Send + 'static>(
    cpu: &dyn Cpu,
    job: impl FnOnce() -> T + Send + 'static,
) -> BoxFuture<'static, T> {
    let (job, answer) = answering(job);
    cpu.submit_first(job);
    answer
}

fn answering<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> (Job, BoxFuture<'static, T>) {
    let (sender, receiver) = oneshot::channel();
    let job = Box::new(move || {
        // The one who waited may have gone; then nobody wants the answer.
        let _ = sender.send(job());
    });
    (job, Box::pin(async move { receiver.await.expect("a submitted job runs") }))
}

/// Runs each job at once, on the caller's thread. For simulation and small tools.
pub struct InlineCpu;

impl Cpu for InlineCpu {
    fn submit(&self, job: Job) {
        job();
    }
}
