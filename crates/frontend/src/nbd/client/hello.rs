//! The client's side of the handshake.

use std::{
    io::{BufReader, Read, Write},
    os::unix::net::UnixStream,
};

use super::{
    super::{
        limits::{EXTENTS_MAX, OPTION_BYTES_MAX},
        wire::{self, answer, handshake_flag, info, option},
    },
    ClientError, broken,
};

/// A handshake under way.
pub(super) struct Hello<'a> {
    stream: BufReader<UnixStream>,
    export: &'a str,
}

/// What was agreed on.
pub(super) struct Agreed {
    pub(super) stream: BufReader<UnixStream>,
    pub(super) size_bytes: u64,
    pub(super) flags: u16,
}

impl Hello<'_> {
    pub(super) fn new(stream: BufReader<UnixStream>, export: &str) -> Hello<'_> {
        Hello { stream, export }
    }

    pub(super) fn run(mut self) -> Result<Agreed, ClientError> {
        self.greet()?;
        self.option(option::STRUCTURED_REPLY, &[])?;
        let mut contexts = self.name();
        contexts.extend(1u32.to_be_bytes());
        contexts.extend((wire::ALLOCATION.len() as u32).to_be_bytes());
        contexts.extend(wire::ALLOCATION.as_bytes());
        let selected = self.option(option::SET_META_CONTEXT, &contexts)?;
        if !selected.iter().any(|(kind, _)| *kind == answer::META_CONTEXT) {
            return Err(broken("an export with block status", "none"));
        }
        let mut go = self.name();
        go.extend(0u16.to_be_bytes());
        let told = self.option(option::GO, &go)?;
        let info = told.iter().find_map(|(kind, data)| export_info(*kind, data));
        let (size_bytes, flags) = info.ok_or_else(|| broken("the export's size", "no size"))?;
        Ok(Agreed { stream: self.stream, size_bytes, flags })
    }

    fn greet(&mut self) -> Result<(), ClientError> {
        let mut greeting = [0; 18];
        self.stream.read_exact(&mut greeting)?;
        let magics = (wire::u64_at(&greeting, 0), wire::u64_at(&greeting, 8));
        if magics != (wire::HELLO_MAGIC, wire::OPTION_MAGIC) {
            return Err(broken("the greeting of NBD", format!("{greeting:02x?}")));
        }
        let flags = u32::from(handshake_flag::FIXED_NEWSTYLE | handshake_flag::NO_ZEROES);
        Ok(self.stream.get_ref().write_all(&flags.to_be_bytes())?)
    }

    /// The export's name as options begin with it.
    fn name(&self) -> Vec<u8> {
        let mut data = (self.export.len() as u32).to_be_bytes().to_vec();
        data.extend(self.export.as_bytes());
        data
    }

    /// Sends an option; its replies up to the acknowledgement.
    fn option(&mut self, number: u32, data: &[u8]) -> Result<Vec<(u32, Vec<u8>)>, ClientError> {
        let mut message = wire::OPTION_MAGIC.to_be_bytes().to_vec();
        message.extend(number.to_be_bytes());
        message.extend((data.len() as u32).to_be_bytes());
        message.extend(data);
        self.stream.get_ref().write_all(&message)?;
        let mut replies = Vec::new();
        loop {
            let mut header = [0; 20];
            self.stream.read_exact(&mut header)?;
            let (kind, length) = (wire::u32_at(&header, 12), wire::u32_at(&header, 16));
            let ours = wire::u64_at(&header, 0) == wire::OPTION_REPLY_MAGIC
                && wire::u32_at(&header, 8) == number
                && length <= OPTION_BYTES_MAX
                && replies.len() < EXTENTS_MAX;
            if !ours {
                return Err(broken("a reply to an option", format!("{header:02x?}")));
            }
            let mut data = vec![0; length as usize];
            self.stream.read_exact(&mut data)?;
            match kind {
                answer::ACK => return Ok(replies),
                kind if kind >> 31 == 1 => {
                    let reason = String::from_utf8_lossy(&data).into_owned();
                    return Err(ClientError::Export { export: self.export.to_owned(), reason });
                }
                kind => replies.push((kind, data)),
            }
        }
    }
}

/// Size and flags, if this reply tells them.
fn export_info(kind: u32, data: &[u8]) -> Option<(u64, u16)> {
    let of_export = kind == answer::INFO && data.len() == 12 && data[..2] == info::EXPORT.to_be_bytes();
    of_export.then(|| (wire::u64_at(data, 2), u16::from_be_bytes([data[10], data[11]])))
}
