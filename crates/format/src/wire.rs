//! Numbers into bytes and back, with a name for every field that is missing.

use crate::FormatError;
use crate::error::ensure;

/// Reads fields one after the other; every failure names the thing and the field.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`, which should be a `what`.
    pub(crate) fn new(what: &'static str, bytes: &'a [u8]) -> Reader<'a> {
        Reader { what, rest: bytes }
    }

    /// The next `count` bytes.
    pub(crate) fn take(&mut self, field: &'static str, count: usize) -> Result<&'a [u8], FormatError> {
        match self.rest.split_at_checked(count) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(FormatError::short(self.what, field, count, self.rest.len())),
        }
    }

    pub(crate) fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], FormatError> {
        match self.rest.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(*taken)
            }
            None => Err(FormatError::short(self.what, field, N, self.rest.len())),
        }
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, FormatError> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16, FormatError> {
        self.array(field).map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, FormatError> {
        self.array(field).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self, field: &'static str) -> Result<u64, FormatError> {
        self.array(field).map(u64::from_le_bytes)
    }

    /// A number of seven bits a byte, low bits first, in its shortest form.
    pub(crate) fn varint(&mut self, field: &'static str) -> Result<u64, FormatError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8(field)?;
            let bits = u64::from(byte & 0x7f);
            let fits = shift < 63 || bits <= 1;
            let shortest = byte != 0 || shift == 0;
            ensure(
                fits && shortest,
                self.what,
                field,
                "a number in its shortest form",
                format_args!("{byte:#x}"),
            )?;
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(FormatError::new(self.what, field, "a number of at most 64 bits", "a longer one"))
    }

    /// A signed number as a varint, small magnitudes short.
    pub(crate) fn zigzag(&mut self, field: &'static str) -> Result<i64, FormatError> {
        let folded = self.varint(field)?;
        Ok((folded >> 1) as i64 ^ -((folded & 1) as i64))
    }

    /// A count of things that take at least `item_bytes` each, so a `Vec` of that capacity is warranted by the input.
    pub(crate) fn count(&mut self, field: &'static str, item_bytes: usize) -> Result<usize, FormatError> {
        let count = self.u32(field)?;
        self.warranted(field, count as usize, item_bytes)
    }

    /// Checks a count read elsewhere against the bytes that are left.
    pub(crate) fn warranted(
        &self,
        field: &'static str,
        count: usize,
        item_bytes: usize,
    ) -> Result<usize, FormatError> {
        let most = self.rest.len() / item_bytes;
        if count > most {
            let expected = format_args!("at most {most}, by the bytes present").to_string();
            return Err(FormatError::new(self.what, field, expected, count));
        }
        Ok(count)
    }

    /// Bytes that must be zero.
    pub(crate) fn room(&mut self, field: &'static str, count: usize) -> Result<(), FormatError> {
        match self.take(field, count)?.iter().find(|&&byte| byte != 0) {
            None => Ok(()),
            Some(byte) => Err(FormatError::newer(self.what, field, "zeros", format_args!("{byte:#04x}"))),
        }
    }

    /// Magic, version, flags and key id, which begin every stored thing.
    pub(crate) fn start(&mut self, magic: &[u8; 8], version: u16) -> Result<(), FormatError> {
        self.start_since(magic, version, version).map(drop)
    }

    /// The same of a thing that has had several versions; returns which it is.
    pub(crate) fn start_since(
        &mut self,
        magic: &[u8; 8],
        oldest: u16,
        newest: u16,
    ) -> Result<u16, FormatError> {
        let found = self.array::<8>("magic")?;
        if found != *magic {
            return Err(FormatError::new(self.what, "magic", magic.escape_ascii(), found.escape_ascii()));
        }
        let version = self.u16("version")?;
        if version > newest {
            return Err(FormatError::newer(self.what, "version", newest, version));
        }
        ensure(version >= oldest, self.what, "version", "a known version", version)?;
        let flags = self.u16("flags")?;
        if flags != 0 {
            return Err(FormatError::newer(self.what, "flags", 0, format_args!("{flags:#06x}")));
        }
        let key = self.u32("key id")?;
        if key != 0 {
            return Err(FormatError::newer(self.what, "key id", "0 (not encrypted)", key));
        }
        Ok(version)
    }

    /// Succeeds when everything was read.
    pub(crate) fn finish(self) -> Result<(), FormatError> {
        ensure(
            self.rest.is_empty(),
            self.what,
            "end",
            "no more bytes",
            format_args!("{} more", self.rest.len()),
        )
    }
}

/// Bytes that [`Reader::start`] reads.
pub(crate) const START_BYTES: usize = 16;

/// Appends fields one after the other.
pub(crate) trait Put {
    fn put(&mut self, bytes: &[u8]);

    fn put_u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    fn put_u16(&mut self, value: u16) {
        self.put(&value.to_le_bytes());
    }

    fn put_u32(&mut self, value: u32) {
        self.put(&value.to_le_bytes());
    }

    fn put_u64(&mut self, value: u64) {
        self.put(&value.to_le_bytes());
    }

    fn put_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.put_u8(value as u8);
    }

    fn put_zigzag(&mut self, value: i64) {
        self.put_varint(((value << 1) ^ (value >> 63)) as u64);
    }

    /// Magic, version, no flags, no key.
    fn put_start(&mut self, magic: &[u8; 8], version: u16) {
        self.put(magic);
        self.put_u16(version);
        self.put_u16(0);
        self.put_u32(0);
    }
}

impl Put for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}
