//! Where programs read from and write to.

use std::{
    fs::File,
    io::Write,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::sync::mpsc;

use super::world::Past;
use crate::runtime::console::Console;

/// The most that `$(…)` keeps.
const MAX_BUFFER: usize = 1 << 20;

/// The largest file that a program can write.
const MAX_FILE: u64 = 64 << 20;

/// The most that is read as one line.
const MAX_LINE: usize = 1 << 20;

/// Which of a program's two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Fd {
    Stdout,
    Stderr,
}

/// What a program wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// To where.
    pub fd: Fd,
    /// The bytes.
    pub data: Bytes,
}

/// Nobody reads any more (EPIPE), or a limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// Where a program writes to. Cheap to clone.
#[derive(Clone)]
pub enum Output {
    /// To somebody who reads.
    Pipe(mpsc::Sender<Chunk>, Fd),
    /// To the container's log, and to those attached to it; not again what was said in the past.
    Console(Arc<Console>, Fd, Arc<Past>),
    /// To a terminal, which wants carriage returns.
    Terminal(Box<Output>),
    /// To `$(…)`.
    Buffer(Arc<Mutex<Vec<u8>>>),
    /// To a file.
    File(Arc<Mutex<File>>),
    /// To `/dev/null`.
    Null,
}

impl Output {
    /// Writes; waits until there is room.
    pub async fn write(&self, bytes: &[u8]) -> Result<(), Broken> {
        if bytes.is_empty() {
            return Ok(());
        }
        match self {
            Self::Pipe(sender, fd) => {
                let chunk = Chunk { fd: *fd, data: Bytes::copy_from_slice(bytes) };
                sender.send(chunk).await.map_err(|_| Broken)
            }
            Self::Console(console, fd, past) => {
                if !past.is_present() {
                    console.write(*fd, bytes);
                }
                Ok(())
            }
            Self::Terminal(inner) => Box::pin(inner.write(&with_returns(bytes))).await,
            Self::Buffer(buffer) => {
                let mut buffer = buffer.lock().unwrap_or_else(PoisonError::into_inner);
                if buffer.len() + bytes.len() > MAX_BUFFER {
                    return Err(Broken);
                }
                buffer.extend_from_slice(bytes);
                Ok(())
            }
            Self::File(file) => {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                let length = file.metadata().map_or(0, |about| about.len());
                if length + bytes.len() as u64 > MAX_FILE {
                    return Err(Broken);
                }
                file.write_all(bytes).map_err(|_| Broken)
            }
            Self::Null => Ok(()),
        }
    }

    /// Writes text.
    pub async fn print(&self, text: impl AsRef<str>) -> Result<(), Broken> {
        self.write(text.as_ref().as_bytes()).await
    }

    /// To an open file.
    pub fn file(file: File) -> Self {
        Self::File(Arc::new(Mutex::new(file)))
    }

    /// Whether it is a terminal.
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Terminal(_))
    }
}

fn with_returns(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 8);
    for (at, byte) in bytes.iter().enumerate() {
        if *byte == b'\n' && (at == 0 || bytes[at - 1] != b'\r') {
            out.push(b'\r');
        }
        out.push(*byte);
    }
    out
}

/// Where a program reads from. Clones share what is read.
#[derive(Clone)]
pub struct Input(Arc<tokio::sync::Mutex<Source>>);

struct Source {
    buffer: BytesMut,
    more: Option<More>,
}

/// Who sends.
enum More {
    Bytes(mpsc::Receiver<Bytes>),
    Chunks(mpsc::Receiver<Chunk>),
}

impl More {
    async fn next(&mut self) -> Option<Bytes> {
        match self {
            Self::Bytes(bytes) => bytes.recv().await,
            Self::Chunks(chunks) => chunks.recv().await.map(|chunk| chunk.data),
        }
    }
}

impl Input {
    /// Nothing to read.
    pub fn empty() -> Self {
        Self::from(Vec::new())
    }

    /// What somebody sends.
    pub fn live(more: mpsc::Receiver<Bytes>) -> Self {
        Self::new(BytesMut::new(), Some(More::Bytes(more)))
    }

    fn new(buffer: BytesMut, more: Option<More>) -> Self {
        Self(Arc::new(tokio::sync::Mutex::new(Source { buffer, more })))
    }

    /// Some bytes; `None` at the end.
    pub async fn read(&self) -> Option<Bytes> {
        let mut source = self.0.lock().await;
        if source.buffer.is_empty() && !source.fill().await {
            return None;
        }
        Some(source.buffer.split().freeze())
    }

    /// The next line, with its end; `None` at the end.
    pub async fn line(&self) -> Option<String> {
        let mut source = self.0.lock().await;
        loop {
            if let Some(at) = source.buffer.iter().position(|byte| *byte == b'\n') {
                let line = source.buffer.split_to(at + 1);
                return Some(String::from_utf8_lossy(&line).into_owned());
            }
            if source.buffer.len() >= MAX_LINE || !source.fill().await {
                let rest = source.buffer.split();
                return (!rest.is_empty()).then(|| String::from_utf8_lossy(&rest).into_owned());
            }
        }
    }
}

impl From<Vec<u8>> for Input {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(BytesMut::from(bytes.as_slice()), None)
    }
}

impl Source {
    /// Waits for more; says whether some came.
    async fn fill(&mut self) -> bool {
        let Some(more) = &mut self.more else { return false };
        match more.next().await {
            Some(bytes) if bytes.has_remaining() => {
                self.buffer.extend_from_slice(&bytes);
                true
            }
            // A terminal's ^D on an empty line: the end for whoever reads now.
            Some(_) => false,
            None => {
                self.more = None;
                false
            }
        }
    }
}

/// A pipe between two programs.
pub fn pipe() -> (Output, Input) {
    let (sender, chunks) = mpsc::channel(16);
    (Output::Pipe(sender, Fd::Stdout), Input::new(BytesMut::new(), Some(More::Chunks(chunks))))
}

/// A program's three streams.
#[derive(Clone)]
pub struct Streams {
    /// Standard input.
    pub stdin: Input,
    /// Standard output.
    pub stdout: Output,
    /// Standard error.
    pub stderr: Output,
}
