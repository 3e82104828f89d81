//! The compact binary form of what is written to the log, to snapshots and to peers: little-endian base-128 numbers,
//! bytes behind their length.

use std::sync::Arc;

use bytes::{Buf, Bytes};

use crate::intern::Interner;

/// Bytes that this program did not write, or that were damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed {0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

/// Appends values to a buffer.
#[derive(Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn byte(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.number(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    pub(crate) fn string(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    pub(crate) fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        match value {
            None => self.byte(0),
            Some(value) => {
                self.byte(1);
                write(self, value);
            }
        }
    }
}

/// Takes values from the front of a buffer, without copying where the caller can share it.
pub(crate) struct Reader(Bytes);

impl Reader {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        if self.0.is_empty() {
            return Err(Malformed("end of input"));
        }
        Ok(self.0.get_u8())
    }

    pub(crate) fn number(&mut self) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed("number"))
    }

    /// How many items follow; each takes at least one byte, so a damaged count can't reserve much memory.
    pub(crate) fn count(&mut self) -> Result<usize, Malformed> {
        let count = self.number()?;
        if count > self.0.len() as u64 {
            return Err(Malformed("count"));
        }
        Ok(count as usize)
    }

    /// Shares the buffer.
    pub(crate) fn bytes(&mut self) -> Result<Bytes, Malformed> {
        let length = self.count()?;
        Ok(self.0.split_to(length))
    }

    pub(crate) fn string(&mut self) -> Result<Arc<str>, Malformed> {
        let bytes = self.bytes()?;
        std::str::from_utf8(&bytes).map(Arc::from).map_err(|_| Malformed("text"))
    }

    pub(crate) fn interned(&mut self, interner: &mut Interner) -> Result<Arc<str>, Malformed> {
        let bytes = self.bytes()?;
        std::str::from_utf8(&bytes).map(|text| interner.intern(text)).map_err(|_| Malformed("text"))
    }

    pub(crate) fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        match self.byte()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            _ => Err(Malformed("option")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut writer = Writer::default();
        for number in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            writer.number(number);
        }
        writer.string("pods");
        writer.option(Some(7u64), Writer::number);
        writer.option(None::<u64>, Writer::number);
        let mut reader = Reader::new(writer.0.into());
        for number in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            assert_eq!(reader.number().unwrap(), number);
        }
        assert_eq!(&*reader.string().unwrap(), "pods");
        assert_eq!(reader.option(Reader::number).unwrap(), Some(7));
        assert_eq!(reader.option(Reader::number).unwrap(), None);
        assert!(reader.is_empty());
    }

    #[test]
    fn damage_is_an_error() {
        for bytes in [&b""[..], &[0x80], &[0xff; 11], &[5, b'a'], &[2, 0xff, 0xfe]] {
            assert!(Reader::new(Bytes::copy_from_slice(bytes)).string().is_err(), "{bytes:?}");
        }
    }
}
