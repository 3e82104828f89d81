//! What a container's own program is connected to: its log, those who are attached, and its standard input.

use std::sync::{Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use tokio::sync::{broadcast, mpsc};

use super::log::Log;
use crate::shell::streams::{Chunk, Fd};

/// Chunks that somebody who is attached may be behind; then he misses some.
const BEHIND: usize = 256;

/// A running container's console.
pub struct Console {
    log: Log,
    /// Made when somebody attaches.
    live: OnceLock<broadcast::Sender<Chunk>>,
    stdin: Mutex<Option<mpsc::Sender<Bytes>>>,
}

impl Console {
    /// A console with this log.
    pub fn new(log: Log) -> Self {
        Self { log, live: OnceLock::new(), stdin: Mutex::default() }
    }

    /// The log.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The program writes.
    pub fn write(&self, fd: Fd, bytes: &[u8]) {
        self.log.write(fd, bytes);
        if let Some(live) = self.live.get() {
            // Without anybody there it is in the log alone.
            let _ = live.send(Chunk { fd, data: Bytes::copy_from_slice(bytes) });
        }
    }

    /// What the program writes from now on.
    pub fn attach(&self) -> broadcast::Receiver<Chunk> {
        self.live.get_or_init(|| broadcast::Sender::new(BEHIND)).subscribe()
    }

    /// Gives the program an input; what is sent to it.
    pub fn open_stdin(&self) -> mpsc::Receiver<Bytes> {
        let (sender, receiver) = mpsc::channel(16);
        *self.stdin.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        receiver
    }

    /// The program's input, if it has one that is open.
    pub fn stdin(&self) -> Option<mpsc::Sender<Bytes>> {
        self.stdin.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the program's input.
    pub fn close_stdin(&self) {
        self.stdin.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
