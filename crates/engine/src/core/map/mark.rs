//! What the sweep has to know of a leaf or an inner node; see `evict`.

use esker_io::sync::atomic::{AtomicU32, Ordering};

use super::node::Node;

/// Somebody looked at it since the sweep came by.
const USED: u32 = 1;
/// It was changed since the sweep came by: no stamp holds.
const CHANGED: u32 = 2;
const STAMP_SHIFT: u32 = 2;
/// The largest stamp.
pub(super) const STAMP_MAX: u32 = u32::MAX >> STAMP_SHIFT;

/// Used, changed, and a stamp: the generation up to which its changes go. Readers and writers set a bit under the
/// shared guard, and only where it is not set; the guard orders that before the sweep, which holds it alone.
pub(super) struct Mark(AtomicU32);

impl Mark {
    /// Of what a map holds that no root says yet, as far as is known.
    pub(super) fn changed() -> Self {
        Self(AtomicU32::new(CHANGED))
    }

    /// Of what a page said: every root from then on says the same.
    pub(super) fn of_page() -> Self {
        Self(AtomicU32::new(USED))
    }

    #[inline]
    pub(super) fn touch(&self) {
        self.set(USED);
    }

    #[inline]
    pub(super) fn change(&self) {
        self.set(CHANGED);
    }

    /// A child became uniform, with `before` bytes of heap until now, so its own mark is gone.
    pub(super) fn change_if_lost(&self, before: usize, child: &Node) {
        if before > 0 && child.heap_bytes() == 0 {
            self.change();
        }
    }

    #[inline]
    fn set(&self, bit: u32) {
        if self.0.load(Ordering::Relaxed) & bit == 0 {
            self.0.fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// Whether no stamp holds.
    pub(super) fn is_changed(&mut self) -> bool {
        *self.0.get_mut() & CHANGED != 0
    }

    /// The generation up to which its changes go.
    pub(super) fn stamp(&mut self) -> u32 {
        *self.0.get_mut() >> STAMP_SHIFT
    }

    /// All changes so far belong to this generation or an earlier one.
    pub(super) fn set_stamp(&mut self, generation: u32) {
        let word = self.0.get_mut();
        *word = generation << STAMP_SHIFT | *word & USED;
    }

    /// Takes the bit that says that it was used.
    pub(super) fn take_used(&mut self) -> bool {
        let word = self.0.get_mut();
        let used = *word & USED != 0;
        *word &= !USED;
        used
    }
}
