//! Which requests are legal: a pure function of the request and of the export.

use super::{
    limits::{PAYLOAD_BYTES_MAX, UNFRAGMENTED_BYTES_MAX},
    wire::{Errno, Request, command, command_flag},
};

/// What is true of the export and the connection while a batch is served.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) size_bytes: u64,
    pub(crate) read_only: bool,
    pub(crate) structured: bool,
    /// Some metadata context was selected.
    pub(crate) contexts: bool,
    pub(crate) stopping: bool,
}

impl Facts {
    /// Whether the device may be asked to do this.
    pub(crate) fn check(&self, request: &Request) -> Result<(), Errno> {
        if self.stopping {
            return Err(Errno::SHUTDOWN);
        }
        if request.flags & !self.flags_of(request.command) != 0 {
            return Err(Errno::INVAL);
        }
        // Writing past the end is ENOSPC, everything else past the end is EINVAL.
        match request.command {
            command::READ => {
                self.within(request, Errno::INVAL)?;
                self.payload(request)?;
                if request.has(command_flag::DF) && request.length > UNFRAGMENTED_BYTES_MAX {
                    return Err(Errno::OVERFLOW);
                }
                Ok(())
            }
            command::WRITE => {
                self.writable()?;
                self.payload(request)?;
                self.within(request, Errno::NOSPC)
            }
            command::WRITE_ZEROES => {
                self.writable()?;
                self.within(request, Errno::NOSPC)
            }
            command::TRIM => {
                self.writable()?;
                self.within(request, Errno::INVAL)
            }
            command::FLUSH if request.offset == 0 && request.length == 0 => Ok(()),
            command::CACHE => self.within(request, Errno::INVAL),
            command::BLOCK_STATUS if self.contexts && request.length > 0 => {
                self.within(request, Errno::INVAL)
            }
            _ => Err(Errno::INVAL),
        }
    }

    /// The flags that a command may carry. FUA is legal everywhere, by the protocol.
    fn flags_of(&self, number: u16) -> u16 {
        use command_flag::*;
        FUA | match number {
            command::READ if self.structured => DF,
            command::WRITE_ZEROES => NO_HOLE | FAST_ZERO,
            command::BLOCK_STATUS => REQ_ONE,
            _ => 0,
        }
    }

    fn writable(&self) -> Result<(), Errno> {
        if self.read_only { Err(Errno::PERM) } else { Ok(()) }
    }

    fn payload(&self, request: &Request) -> Result<(), Errno> {
        if request.length > PAYLOAD_BYTES_MAX { Err(Errno::INVAL) } else { Ok(()) }
    }

    fn within(&self, request: &Request, otherwise: Errno) -> Result<(), Errno> {
        match request.offset.checked_add(request.length.into()) {
            Some(end) if end <= self.size_bytes => Ok(()),
            _ => Err(otherwise),
        }
    }
}

#[cfg(test)]
mod tests;
