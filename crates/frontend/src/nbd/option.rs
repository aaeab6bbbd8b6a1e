//! The data of options: bytes to values, nothing else.

use super::{limits::STRING_BYTES_MAX, wire};

/// What is wrong with an option's data, for the client to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// The data of INFO and GO.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InfoQuery<'a> {
    pub(crate) name: &'a str,
    wanted: &'a [u8],
}

impl<'a> InfoQuery<'a> {
    pub(crate) fn parse(data: &'a [u8]) -> Result<InfoQuery<'a>, Malformed> {
        let mut rest = Fields(data);
        let name = rest.string()?;
        let count = rest.take(2)?;
        let wanted = rest.take(2 * usize::from(u16::from_be_bytes([count[0], count[1]])))?;
        rest.end()?;
        Ok(InfoQuery { name, wanted })
    }

    /// Whether this kind of information was asked for.
    pub(crate) fn wants(&self, kind: u16) -> bool {
        self.wanted.chunks_exact(2).any(|two| two == kind.to_be_bytes())
    }
}

/// The data of LIST_META_CONTEXT and SET_META_CONTEXT.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ContextQuery<'a> {
    pub(crate) name: &'a str,
    pub(crate) queries: Vec<&'a str>,
}

impl<'a> ContextQuery<'a> {
    pub(crate) fn parse(data: &'a [u8]) -> Result<ContextQuery<'a>, Malformed> {
        let mut rest = Fields(data);
        let name = rest.string()?;
        let count = wire::u32_at(rest.take(4)?, 0);
        let mut queries = Vec::new();
        // Each query takes four bytes at least, so the data ends before a false number does harm.
        for _ in 0..count {
            queries.push(rest.string()?);
        }
        rest.end()?;
        Ok(ContextQuery { name, queries })
    }
}

/// A whole option that is one name.
pub(crate) fn name(data: &[u8]) -> Result<&str, Malformed> {
    if data.len() > STRING_BYTES_MAX {
        return Err(Malformed("a name is longer than 4096 bytes"));
    }
    std::str::from_utf8(data).map_err(|_| Malformed("a name is not UTF-8"))
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.0.split_at_checked(bytes).ok_or(Malformed("the option ends too early"))?;
        self.0 = rest;
        Ok(head)
    }

    fn string(&mut self) -> Result<&'a str, Malformed> {
        let bytes = wire::u32_at(self.take(4)?, 0);
        name(self.take(usize::try_from(bytes).unwrap_or(usize::MAX))?)
    }

    fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed("the option has bytes left over")) }
    }
}

#[cfg(test)]
mod tests;
