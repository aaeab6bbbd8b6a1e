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
}

/// Runs `job` on `cpu` and waits for its answer.
pub fn run<T: Send + 'static>(
    cpu: &dyn Cpu,
    job: impl FnOnce() -> T + Send + 'static,
) -> BoxFuture<'static, T> {
    let (sender, receiver) = oneshot::channel();
    cpu.submit(Box::new(move || {
        // The one who waited may have gone; then nobody wants the answer.
        let _ = sender.send(job());
    }));
    Box::pin(async move { receiver.await.expect("a submitted job runs") })
}

/// Runs each job at once, on the caller's thread. For simulation and small tools.
pub struct InlineCpu;

impl Cpu for InlineCpu {
    fn submit(&self, job: Job) {
        job();
    }
}
