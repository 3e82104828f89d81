//! Containers' logs: files as the Container Runtime Interface has them, one line `<time> <stream> <F or P> <text>` each.
//! Source: `pkg/kubelet/kuberuntime/logs` of Kubernetes, KEP-2411.

use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Seek, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use kubelab_client::clock;
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt, SeekFrom},
    sync::{mpsc, watch},
};

use crate::shell::streams::Fd;

/// A file that has grown to this is put aside, and the one before it is removed. Source: the kubelet's
/// `containerLogMaxSize`.
const MAX_FILE: u64 = 10 << 20;

/// The longest line before it is written as a part. Source: containerd's `max_container_log_line_size`.
const MAX_LINE: usize = 16 << 10;

/// How much is read at once.
const BLOCK: usize = 64 << 10;

/// The log of one run, while it is written.
pub struct Log {
    path: PathBuf,
    state: Mutex<State>,
    /// How often the file was put aside; also tells that there is more to read.
    changed: watch::Sender<u32>,
}

#[derive(Default)]
struct State {
    length: u64,
    /// What has no end of line yet, of each stream.
    partial: [Vec<u8>; 2],
    /// The first lines, until others follow or somebody reads: most servers say a little at their start that nobody looks
    /// at, and a file costs more than all else that starts a container.
    greeting: Vec<u8>,
}

impl Log {
    /// Goes on with the log at this path; the file comes with the first line.
    pub fn open(path: PathBuf) -> Self {
        let length = fs::metadata(&path).map_or(0, |about| about.len());
        Self { path, state: Mutex::new(State { length, ..State::default() }), changed: watch::Sender::new(0) }
    }

    /// What a program says at its start, unless it is in the log already.
    pub fn greet(&self, at: Timestamp, lines: &[String]) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.length == 0 {
            let now = time(at);
            lines.iter().for_each(|text| line(&now, Fd::Stdout, 'F', text.as_bytes(), &mut state.greeting));
        }
    }

    /// Puts all that was said into the file, for somebody who reads it.
    pub fn flush(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.append(&mut state, &[]);
    }

    /// Tells of every change; ends with the log.
    pub fn follow(&self) -> watch::Receiver<u32> {
        self.changed.subscribe()
    }

    /// Appends what a program wrote.
    pub fn write(&self, fd: Fd, bytes: &[u8]) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = time(clock::now_micro().0);
        let mut lines = Vec::new();
        let partial = &mut state.partial[fd as usize];
        for byte in bytes {
            if *byte == b'\n' || partial.len() >= MAX_LINE {
                line(&now, fd, if *byte == b'\n' { 'F' } else { 'P' }, partial, &mut lines);
                partial.clear();
            }
            if *byte != b'\n' {
                partial.push(*byte);
            }
        }
        self.append(&mut state, &lines);
    }

    fn append(&self, state: &mut State, lines: &[u8]) {
        let lines = [&std::mem::take(&mut state.greeting), lines].concat();
        if lines.is_empty() {
            return;
        }
        let write = |state: &mut State| -> io::Result<()> {
            if state.length >= MAX_FILE {
                fs::rename(&self.path, self.path.with_extension("log.1"))?;
                state.length = 0;
                self.changed.send_modify(|rotations| *rotations += 1);
            }
            if state.length == 0
                && let Some(folder) = self.path.parent()
            {
                fs::create_dir_all(folder)?;
            }
            OpenOptions::new().create(true).append(true).open(&self.path)?.write_all(&lines)?;
            state.length += lines.len() as u64;
            Ok(())
        };
        if let Err(error) = write(state) {
            tracing::warn!(file = %self.path.display(), %error, "cannot write a container's log; its lines are lost");
        }
        self.changed.send_modify(|_| {});
    }
}

impl Drop for Log {
    /// What has no end of line is the last line.
    fn drop(&mut self) {
        let mut state = std::mem::take(self.state.get_mut().unwrap_or_else(PoisonError::into_inner));
        let now = time(clock::now_micro().0);
        let mut lines = Vec::new();
        for fd in [Fd::Stdout, Fd::Stderr] {
            let partial = &state.partial[fd as usize];
            if !partial.is_empty() {
                line(&now, fd, 'P', partial, &mut lines);
            }
        }
        self.append(&mut state, &lines);
    }
}

/// A time as Go's `RFC3339NanoFixed` layout has it.
fn time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%9fZ").to_string()
}

fn line(now: &str, fd: Fd, tag: char, text: &[u8], out: &mut Vec<u8>) {
    let stream = match fd {
        Fd::Stdout => "stdout",
        Fd::Stderr => "stderr",
    };
    out.extend_from_slice(format!("{now} {stream} {tag} ").as_bytes());
    out.extend_from_slice(text);
    out.push(b'\n');
}

/// What to read of a log.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Only lines from then on.
    pub since: Option<Timestamp>,
    /// Only so many lines, counted from the end.
    pub tail: Option<u64>,
    /// At most so many bytes.
    pub limit: Option<u64>,
    /// Each line after its time.
    pub timestamps: bool,
    /// Of one stream alone.
    pub stream: Option<Fd>,
}

/// Reads a log; with `follow` until its run ends. The file need not be there.
pub fn read(path: PathBuf, wanted: Wanted, follow: Option<watch::Receiver<u32>>) -> mpsc::Receiver<Bytes> {
    let (out, lines) = mpsc::channel(4);
    tokio::spawn(async move {
        if let Err(error) = pump(&path, wanted, follow, &out).await {
            tracing::warn!(file = %path.display(), %error, "cannot read a container's log");
        }
    });
    lines
}

/// The text of a log's last lines, within these bounds.
pub fn last(path: &Path, bytes: usize, lines: usize) -> Vec<u8> {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(BLOCK as u64)))?;
        let mut tail = Vec::new();
        io::Read::read_to_end(&mut file, &mut tail)?;
        Ok(tail)
    };
    let tail = read().unwrap_or_default();
    // `<time> <stream> <tag> <text>`
    let text = |line: &'_ [u8]| line.splitn(4, |byte| *byte == b' ').nth(3).map(<[u8]>::to_vec);
    let mut texts: Vec<Vec<u8>> = tail.split_inclusive(|byte| *byte == b'\n').filter_map(text).collect();
    let text = texts.split_off(texts.len().saturating_sub(lines)).concat();
    text[text.len().saturating_sub(bytes)..].to_vec()
}

async fn pump(
    path: &Path,
    wanted: Wanted,
    mut follow: Option<watch::Receiver<u32>>,
    out: &mpsc::Sender<Bytes>,
) -> io::Result<()> {
    let mut selection = Selection { left: wanted.limit.unwrap_or(u64::MAX), wanted, midline: false };
    let mut file: Option<File> = None;
    let mut first = true;
    let mut rotations = 0;
    let mut buffer = BytesMut::new();
    loop {
        // Seen before the file is read, so that nothing written meanwhile is waited for.
        let now = follow.as_mut().map_or(rotations, |follow| *follow.borrow_and_update());
        if file.is_none() {
            rotations = now;
            file = match File::open(path).await {
                Ok(mut file) => {
                    if let Some(tail) = selection.wanted.tail.filter(|_| first) {
                        let start = tail_start(&mut file, tail).await?;
                        file.seek(SeekFrom::Start(start)).await?;
                    }
                    Some(file)
                }
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
            first = false;
        }
        if let Some(open) = &mut file {
            buffer.reserve(BLOCK);
            if open.read_buf(&mut buffer).await? > 0 {
                let selected = selection.take(&mut buffer);
                if (!selected.is_empty() && out.send(selected).await.is_err()) || selection.left == 0 {
                    return Ok(());
                }
                continue;
            }
        }
        if now != rotations {
            file = None;
            continue;
        }
        let Some(changes) = &mut follow else { return Ok(()) };
        tokio::select! {
            changed = changes.changed() => if changed.is_err() {
                // The run has ended; once more for its last line.
                follow = None;
            },
            () = out.closed() => return Ok(()),
        }
    }
}

/// Where the last `lines` lines begin.
async fn tail_start(file: &mut File, lines: u64) -> io::Result<u64> {
    let mut position = file.seek(SeekFrom::End(0)).await?;
    // The end of the last line is not the end of another.
    let mut ends = 0;
    let mut block = vec![0; BLOCK];
    while position > 0 {
        let size = position.min(BLOCK as u64) as usize;
        position -= size as u64;
        file.seek(SeekFrom::Start(position)).await?;
        file.read_exact(&mut block[..size]).await?;
        for at in (0..size).rev().filter(|at| block[*at] == b'\n') {
            ends += 1;
            if ends == lines.saturating_add(1) {
                return Ok(position + at as u64 + 1);
            }
        }
    }
    Ok(0)
}

/// Chooses among lines.
struct Selection {
    wanted: Wanted,
    left: u64,
    /// The last line was a part: what follows is not a new line.
    midline: bool,
}

impl Selection {
    /// Takes the whole lines from the buffer.
    fn take(&mut self, buffer: &mut BytesMut) -> Bytes {
        let mut out = BytesMut::new();
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line = buffer.split_to(end + 1);
            self.add(&line[..end], &mut out);
            if self.left == 0 {
                break;
            }
        }
        out.freeze()
    }

    fn add(&mut self, line: &[u8], out: &mut BytesMut) {
        let mut parts = line.splitn(4, |byte| *byte == b' ');
        let (Some(time), Some(stream), Some(tag)) = (parts.next(), parts.next(), parts.next()) else { return };
        let text = parts.next().unwrap_or_default();
        let fd = if stream == b"stderr" { Fd::Stderr } else { Fd::Stdout };
        if self.wanted.stream.is_some_and(|wanted| wanted != fd) {
            return;
        }
        let written = std::str::from_utf8(time).ok().and_then(|time| time.parse::<Timestamp>().ok());
        if self.wanted.since.is_some_and(|since| written.is_none_or(|written| written < since)) {
            return;
        }
        let mut append = |bytes: &[u8]| {
            let fits = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            out.extend_from_slice(&bytes[..fits]);
            self.left -= fits as u64;
        };
        if self.wanted.timestamps && !self.midline {
            append(time);
            append(b" ");
        }
        append(text);
        self.midline = tag == b"P";
        if !self.midline {
            append(b"\n");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    async fn all(path: &Path, wanted: Wanted) -> String {
        let mut lines = read(path.to_owned(), wanted, None);
        let mut text = Vec::new();
        while let Some(bytes) = lines.recv().await {
            text.extend_from_slice(&bytes);
        }
        String::from_utf8(text).unwrap()
    }

    const LINES: &str = "2026-11-27T10:00:00.000000000Z stdout F one\n2026-11-27T10:00:01.500000000Z stderr F two\n\
        2026-11-27T10:00:02.000000000Z stdout P thr\n2026-11-27T10:00:02.000000001Z stdout F ee\n";

    #[tokio::test]
    async fn lines_are_chosen_as_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.log");
        fs::write(&path, LINES).unwrap();
        let since = Some("2026-11-27T10:00:01Z".parse().unwrap());
        let none = Wanted::default;
        for (wanted, expected) in [
            (none(), "one\ntwo\nthree\n"),
            (Wanted { tail: Some(0), ..none() }, ""),
            (Wanted { tail: Some(3), ..none() }, "two\nthree\n"),
            (Wanted { tail: Some(99), ..none() }, "one\ntwo\nthree\n"),
            (Wanted { since, ..none() }, "two\nthree\n"),
            (Wanted { limit: Some(5), ..none() }, "one\nt"),
            (Wanted { stream: Some(Fd::Stderr), ..none() }, "two\n"),
            (
                Wanted { timestamps: true, tail: Some(3), ..none() },
                "2026-11-27T10:00:01.500000000Z two\n2026-11-27T10:00:02.000000000Z three\n",
            ),
        ] {
            assert_eq!(all(&path, wanted.clone()).await, expected, "{wanted:?}");
        }
        assert_eq!(all(&folder.path().join("none.log"), none()).await, "");
    }

    #[tokio::test]
    async fn a_tail_is_found_across_blocks() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.log");
        let lines: String = (0..5000).map(|n| format!("2026-11-27T10:00:00.000000000Z stdout F line {n}\n")).collect();
        fs::write(&path, lines).unwrap();
        let tail = all(&path, Wanted { tail: Some(3000), ..Wanted::default() }).await;
        assert_eq!((tail.lines().count(), tail.lines().next()), (3000, Some("line 2000")));
    }

    #[tokio::test]
    async fn a_follower_sees_each_line_until_the_run_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs/0.log");
        let log = Log::open(path.clone());
        let mut lines = read(path.clone(), Wanted::default(), Some(log.follow()));
        log.write(Fd::Stdout, b"one\ntw");
        assert_eq!(lines.recv().await.unwrap(), "one\n");
        log.write(Fd::Stdout, b"o\nlast");
        assert_eq!(lines.recv().await.unwrap(), "two\n");
        drop(log);
        assert_eq!(lines.recv().await.unwrap(), "last");
        assert_eq!(lines.recv().await, None);
    }

    #[tokio::test]
    async fn a_greeting_costs_no_file_until_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs/0.log");
        let at = "2026-11-27T10:00:00Z".parse().unwrap();
        let log = Log::open(path.clone());
        log.greet(at, &["ready".to_owned()]);
        assert!(!path.exists());
        log.flush();
        assert_eq!(fs::read_to_string(&path).unwrap(), "2026-11-27T10:00:00.000000000Z stdout F ready\n");
        let again = Log::open(path.clone());
        again.greet(at, &["ready".to_owned()]);
        again.write(Fd::Stderr, b"more\n");
        assert_eq!(all(&path, Wanted::default()).await, "ready\nmore\n", "it is said once");

        let unread = folder.path().join("1.log");
        Log::open(unread.clone()).greet(at, &["ready".to_owned()]);
        assert_eq!(all(&unread, Wanted::default()).await, "ready\n", "it is there once the run has ended");
    }

    #[tokio::test]
    async fn a_log_has_a_bound_and_is_followed_across_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.log");
        let log = Log::open(path.clone());
        let mut lines = read(path.clone(), Wanted { tail: Some(0), ..Wanted::default() }, Some(log.follow()));
        let counting = tokio::spawn(async move {
            let mut bytes = 0;
            while let Some(chunk) = lines.recv().await {
                bytes += chunk.len();
            }
            bytes
        });
        let block = [vec![b'x'; 1023], vec![b'\n']].concat().repeat(1024);
        for _ in 0..25 {
            log.write(Fd::Stdout, &block);
            tokio::task::yield_now().await;
        }
        let size = |path: &Path| fs::metadata(path).unwrap().len();
        assert!(size(&path) <= MAX_FILE + 2 * block.len() as u64);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        log.write(Fd::Stdout, b"end\n");
        drop(log);
        assert!(counting.await.unwrap() >= 4);
    }
}
