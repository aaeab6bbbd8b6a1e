//! How a task is made ready.

use std::{
    sync::{Arc, Weak},
    task::Wake,
};

use super::Shared;

/// Makes a task ready.
pub(super) struct TaskWaker {
    pub(super) id: u64,
    pub(super) shared: Weak<Shared>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(shared) = self.shared.upgrade() {
            shared.lock().queue(self.id);
        }
    }
}
