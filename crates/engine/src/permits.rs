//! A bound on what is done at the same time: whoever wants to begin waits for a permit, in the order of coming.

use std::collections::VecDeque;

use esker_io::sync::{Arc, Mutex};
use futures_channel::oneshot;

/// A fixed number of permits.
#[derive(Clone)]
pub(crate) struct Permits {
    state: Arc<Mutex<State>>,
}

struct State {
    free: usize,
    queue: VecDeque<oneshot::Sender<Permit>>,
}

/// The right to do one thing, until it is dropped.
pub(crate) struct Permit {
    /// None once it was handed on.
    permits: Option<Permits>,
}

impl Permits {
    pub(crate) fn new(count: usize) -> Self {
        assert!(count > 0, "without permits nobody ever goes on");
        Self { state: Arc::new(Mutex::new(State { free: count, queue: VecDeque::new() })) }
    }

    /// Waits for a permit.
    pub(crate) async fn acquire(&self) -> Permit {
        let receiver = {
            let mut state = self.state.lock();
            if state.free > 0 {
                state.free -= 1;
                return self.permit();
            }
            let (sender, receiver) = oneshot::channel();
            state.queue.push_back(sender);
            receiver
        };
        receiver.await.expect("a queue that is waited in lives as long as its permits")
    }

    /// How many are free.
    pub(crate) fn free(&self) -> usize {
        self.state.lock().free
    }

    fn permit(&self) -> Permit {
        Permit { permits: Some(self.clone()) }
    }

    /// Hands a permit to the first in the queue who still waits.
    fn release(&self) {
        loop {
            let next = {
                let mut state = self.state.lock();
                let next = state.queue.pop_front();
                if next.is_none() {
                    state.free += 1;
                }
                next
            };
            let Some(waiter) = next else { return };
            // The permit itself travels: if the waiter goes before it looks, dropping it releases it again.
            match waiter.send(self.permit()) {
                Ok(()) => return,
                Err(mut refused) => refused.permits = None,
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(permits) = self.permits.take() {
            permits.release();
        }
    }
}
