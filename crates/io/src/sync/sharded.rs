//! A lock for what is read all the time by many threads and changed rarely.
//!
//! Readers of one plain reader-writer lock fight for its counter's cache line. Here each thread
//! locks one of several shards, each on a line of its own; a writer locks all of them, always in
//! the same order. While a writer waits for a shard, the shard's lock makes new readers queue
//! behind it (`std`'s futex lock prefers waiting writers), so writers do not starve.
//!
//! A thread must not take a second guard of the same lock while it holds one: a writer that waits
//! between the two would stop it for ever.

use std::{
    cell::{Cell, UnsafeCell},
    ops::{Deref, DerefMut},
};

use super::{
    RwLock, RwLockReadGuard, RwLockWriteGuard,
    atomic::{AtomicUsize, Ordering},
};

/// How many readers can come and go without touching each other's cache lines.
pub(super) const SHARDS: usize = 8;

/// One shard; two lines apart, since processors fetch lines in pairs.
#[repr(align(128))]
struct Shard(RwLock<()>);

/// A value under a sharded reader-writer lock.
pub struct Sharded<T> {
    shards: [Shard; SHARDS],
    value: UnsafeCell<T>,
}

// SAFETY: moving the lock moves the value, which `T: Send` allows; the shards hold no thread's state
// while nobody holds a guard, and a guard borrows the lock.
unsafe impl<T: Send> Send for Sharded<T> {}
// SAFETY: `&T` is given to several threads at once (hence `T: Sync`) only under shared shard locks;
// `&mut T` is given to one thread (hence `T: Send`) only while it holds all shards exclusively.
unsafe impl<T: Send + Sync> Sync for Sharded<T> {}

impl<T> Sharded<T> {
    /// An unlocked lock.
    pub fn new(value: T) -> Self {
        Self { shards: std::array::from_fn(|_| Shard(RwLock::new(()))), value: UnsafeCell::new(value) }
    }

    /// Waits for a shared hold. Panics when a writer panicked.
    pub fn read(&self) -> ReadGuard<'_, T> {
        let shard = self.shards[shard_of_this_thread()].0.read();
        // SAFETY: `&mut T` exists only while a `WriteGuard` holds every shard exclusively, this one
        // too; the shard's guard lives in the same struct as the reference and keeps writers out.
        let value = unsafe { &*self.value.get() };
        ReadGuard { value, _shard: shard }
    }

    /// Waits for the exclusive hold. Panics when a writer panicked.
    pub fn write(&self) -> WriteGuard<'_, T> {
        // The same order everywhere, or two writers would wait for each other.
        let shards = std::array::from_fn(|index| self.shards[index].0.write());
        WriteGuard { lock: self, _shards: shards }
    }

    /// The value, by exclusive borrow.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// The value, without its lock.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: Default> Default for Sharded<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> std::fmt::Debug for Sharded<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sharded").finish_non_exhaustive()
    }
}

/// Threads are dealt out to the shards in turn, at each thread's first read.
pub(super) fn shard_of_this_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    MINE.with(|mine| {
        if mine.get() == usize::MAX {
            mine.set(NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS);
        }
        mine.get()
    })
}

/// A shared hold of a [`Sharded`].
pub struct ReadGuard<'a, T> {
    value: &'a T,
    _shard: RwLockReadGuard<'a, ()>,
}

impl<T> Deref for ReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value
    }
}

/// The exclusive hold of a [`Sharded`].
pub struct WriteGuard<'a, T> {
    lock: &'a Sharded<T>,
    _shards: [RwLockWriteGuard<'a, ()>; SHARDS],
}

impl<T> Deref for WriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: this guard holds every shard exclusively, so no other guard exists; the only
        // `&mut T` is made by `deref_mut` below, whose borrow of the guard excludes this one.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for WriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this guard holds every shard exclusively, so no other guard exists, and the
        // exclusive borrow of the guard makes this the only reference given out by it.
        unsafe { &mut *self.lock.value.get() }
    }
}

#[cfg(test)]
mod tests;
