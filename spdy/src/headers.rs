//! Header blocks: names and values, compressed as one stream for a whole connection, with a dictionary that both sides
//! know. Source: SPDY/3.1, section 2.6.10.

use std::sync::LazyLock;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::frame::Error;

/// The most bytes of one header block, unpacked. Clients send a few short headers.
const MAX_BLOCK: usize = 64 << 10;

/// The names of a block and their values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// A header's value. SPDY's names are in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    fn write(&self) -> Vec<u8> {
        let mut block = Vec::new();
        let text = |text: &[u8], block: &mut Vec<u8>| {
            block.extend_from_slice(&(text.len() as u32).to_be_bytes());
            block.extend_from_slice(text);
        };
        block.extend_from_slice(&(self.0.len() as u32).to_be_bytes());
        for (name, value) in &self.0 {
            text(name.to_ascii_lowercase().as_bytes(), &mut block);
            text(value.as_bytes(), &mut block);
        }
        block
    }

    fn read(mut block: &[u8]) -> Result<Self, Error> {
        let count = take_number(&mut block)?;
        let mut headers = Vec::new();
        for _ in 0..count {
            let name = take_text(&mut block)?;
            headers.push((name, take_text(&mut block)?));
        }
        Ok(Self(headers))
    }
}

fn take_number(block: &mut &[u8]) -> Result<u32, Error> {
    let (number, rest) = block.split_first_chunk().ok_or(Error::Headers)?;
    *block = rest;
    Ok(u32::from_be_bytes(*number))
}

fn take_text(block: &mut &[u8]) -> Result<String, Error> {
    let length = take_number(block)? as usize;
    let (text, rest) = block.split_at_checked(length).ok_or(Error::Headers)?;
    *block = rest;
    String::from_utf8(text.to_vec()).map_err(|_| Error::Headers)
}

/// Packs the blocks that are sent.
pub struct Packer(Compress);

impl Default for Packer {
    fn default() -> Self {
        Self(Compress::new(Compression::fast(), true))
    }
}

impl Packer {
    /// Packs a block.
    pub fn pack(&mut self, headers: &Headers) -> Result<Vec<u8>, Error> {
        if self.0.total_in() == 0 {
            self.0.set_dictionary(&DICTIONARY).map_err(|_| Error::Headers)?;
        }
        let block = headers.write();
        let begin = self.0.total_in();
        // Room for what does not shrink, and for the marker of a flush.
        let mut packed = Vec::with_capacity(block.len() + 128);
        loop {
            let done = (self.0.total_in() - begin) as usize;
            self.0.compress_vec(&block[done..], &mut packed, FlushCompress::Sync).map_err(|_| Error::Headers)?;
            if (self.0.total_in() - begin) as usize == block.len() && packed.len() < packed.capacity() {
                return Ok(packed);
            }
            packed.reserve(packed.capacity().max(128));
        }
    }
}

/// Unpacks the blocks that come.
pub struct Unpacker(Decompress);

impl Default for Unpacker {
    fn default() -> Self {
        Self(Decompress::new(true))
    }
}

impl Unpacker {
    /// Unpacks a block.
    pub fn unpack(&mut self, mut packed: &[u8]) -> Result<Headers, Error> {
        let mut block = Vec::with_capacity(1 << 10);
        loop {
            let begin = self.0.total_in();
            let status = self.0.decompress_vec(packed, &mut block, FlushDecompress::Sync);
            packed = &packed[(self.0.total_in() - begin) as usize..];
            match status {
                Ok(Status::StreamEnd) => break,
                Ok(_) if block.len() == block.capacity() => {
                    if block.len() >= MAX_BLOCK {
                        return Err(Error::TooLarge);
                    }
                    block.reserve(block.len());
                }
                // All that came is unpacked; what is missing then is missing from the block.
                Ok(_) if packed.is_empty() || self.0.total_in() == begin => break,
                Ok(_) => {}
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0.set_dictionary(&DICTIONARY).map_err(|_| Error::Headers)?;
                }
                Err(_) => return Err(Error::Headers),
            }
        }
        Headers::read(&block)
    }
}

/// The words that the dictionary begins with, each after its length.
const WORDS: [&str; 55] = [
    "options",
    "head",
    "post",
    "put",
    "delete",
    "trace",
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "connection",
    "content-base",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "retry-after",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "method",
];
const MORE_WORDS: [&str; 10] =
    ["get", "status", "200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin"];

/// What follows the words, without lengths.
const REST: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505\
    203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden\
    404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable\
    Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT\
    chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,\
    publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

static DICTIONARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut dictionary = Vec::new();
    for word in WORDS.iter().chain(&MORE_WORDS) {
        dictionary.extend_from_slice(&(word.len() as u32).to_be_bytes());
        dictionary.extend_from_slice(word.as_bytes());
    }
    dictionary.extend_from_slice(REST.as_bytes());
    dictionary
});

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The length and the Adler-32 sum that SPDY/3's dictionary is known by: every client's zlib names it by this sum.
    #[test]
    fn the_dictionary_is_the_one_that_clients_have() {
        let (mut a, mut b) = (1_u32, 0_u32);
        for byte in DICTIONARY.iter() {
            a = (a + u32::from(*byte)) % 65521;
            b = (b + a) % 65521;
        }
        assert_eq!((DICTIONARY.len(), (b << 16) | a), (1423, 0xe3c6_a7c2));
    }

    #[test]
    fn blocks_of_a_connection_unpack_in_order() {
        let headers = |n: usize| {
            let large = "x".repeat(n * 3000);
            Headers(vec![("streamtype".into(), "data".into()), ("port".into(), n.to_string()), ("x".into(), large)])
        };
        let (mut packer, mut unpacker) = (Packer::default(), Unpacker::default());
        for n in 0..5 {
            let packed = packer.pack(&headers(n)).unwrap();
            assert_eq!(unpacker.unpack(&packed).unwrap(), headers(n));
        }
        assert_eq!(headers(1).get("StreamType"), Some("data"));
        let none = packer.pack(&Headers::default()).unwrap();
        assert_eq!(unpacker.unpack(&none).unwrap(), Headers::default());
    }

    #[test]
    fn a_block_has_a_limit_and_must_be_whole() {
        let mut packer = Packer::default();
        let bomb = packer.pack(&Headers(vec![("a".into(), "x".repeat(2 * MAX_BLOCK))])).unwrap();
        assert_eq!(Unpacker::default().unpack(&bomb), Err(Error::TooLarge));
        assert_eq!(Unpacker::default().unpack(b"no zlib"), Err(Error::Headers));
        let whole = Packer::default().pack(&Headers(vec![("a".into(), "b".into())])).unwrap();
        assert_eq!(Unpacker::default().unpack(&whole[..whole.len() / 2]), Err(Error::Headers));
        assert_eq!(Headers::read(&[0xff; 8]), Err(Error::Headers));
    }
}
