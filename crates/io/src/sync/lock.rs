//! The locks of `std`, with poisoning handled in one place: a poisoned lock panics.

use std::{sync, time::Duration};

/// A held mutex.
pub type MutexGuard<'a, T> = sync::MutexGuard<'a, T>;
/// A shared hold of a [`RwLock`].
pub type RwLockReadGuard<'a, T> = sync::RwLockReadGuard<'a, T>;
/// An exclusive hold of a [`RwLock`].
pub type RwLockWriteGuard<'a, T> = sync::RwLockWriteGuard<'a, T>;

/// The one answer to poison: what the lock guards was left half changed.
fn believed<G>(held: sync::LockResult<G>) -> G {
    match held {
        Ok(guard) => guard,
        Err(_) => {
            panic!("a thread panicked while it changed what this lock guards; its state is not to be trusted")
        }
    }
}

/// Mutual exclusion.
#[derive(Debug, Default)]
pub struct Mutex<T: ?Sized>(sync::Mutex<T>);

impl<T> Mutex<T> {
    /// An unlocked mutex.
    pub const fn new(value: T) -> Self {
        Self(sync::Mutex::new(value))
    }

    /// The value, without its lock.
    pub fn into_inner(self) -> T {
        believed(self.0.into_inner())
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits for the lock. Panics when a holder panicked.
    #[track_caller]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        believed(self.0.lock())
    }

    /// Takes the lock if it is free. Panics when a holder panicked.
    #[track_caller]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(sync::TryLockError::WouldBlock) => None,
            Err(sync::TryLockError::Poisoned(poison)) => Some(believed(Err(poison))),
        }
    }

    /// The value, by exclusive borrow.
    pub fn get_mut(&mut self) -> &mut T {
        believed(self.0.get_mut())
    }
}

/// Many readers or one writer.
#[derive(Debug, Default)]
pub struct RwLock<T: ?Sized>(sync::RwLock<T>);

impl<T> RwLock<T> {
    /// An unlocked lock.
    pub const fn new(value: T) -> Self {
        Self(sync::RwLock::new(value))
    }

    /// The value, without its lock.
    pub fn into_inner(self) -> T {
        believed(self.0.into_inner())
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Waits for a shared hold. Panics when a writer panicked.
    #[track_caller]
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        believed(self.0.read())
    }

    /// Waits for the exclusive hold. Panics when a writer panicked.
    #[track_caller]
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        believed(self.0.write())
    }

    /// The value, by exclusive borrow.
    pub fn get_mut(&mut self) -> &mut T {
        believed(self.0.get_mut())
    }
}

/// Waits for a change of what a [`Mutex`] guards.
#[derive(Debug, Default)]
pub struct Condvar(sync::Condvar);

impl Condvar {
    /// A condition nobody waits for.
    pub const fn new() -> Self {
        Self(sync::Condvar::new())
    }

    /// Releases the mutex, waits for a notification (or none: check again), and takes it back.
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        believed(self.0.wait(guard))
    }

    /// Waits while `condition` holds.
    pub fn wait_while<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        condition: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'a, T> {
        believed(self.0.wait_while(guard, condition))
    }

    /// Like [`Condvar::wait`], for at most `timeout`; true when the time was up.
    pub fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> (MutexGuard<'a, T>, bool) {
        let (guard, result) = believed(self.0.wait_timeout(guard, timeout));
        (guard, result.timed_out())
    }

    /// Wakes one waiter.
    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    /// Wakes all waiters.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}
