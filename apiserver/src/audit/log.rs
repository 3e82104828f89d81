//! The file of the audit log. A thread of its own writes it; when it grows too large it is put aside under the time, and
//! the oldest of these go. Source of the names and of the flags' meaning: `lumberjack`, which upstream uses.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    },
    thread,
    time::Duration,
};

use anyhow::Context;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

/// How many lines may wait. Source: `defaultBatchBufferSize` in `k8s.io/apiserver/pkg/server/options/audit.go`.
const WAITING: usize = 10_000;
/// How many bytes may wait.
const WAITING_BYTES: usize = 64 * 1024 * 1024;
/// How long the end of the process waits for the last lines.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where the log goes, and how much of it is kept.
#[derive(Clone, Debug)]
pub struct Place {
    /// The file; `-` for standard output.
    pub path: PathBuf,
    /// So large a file may become.
    pub max_bytes: u64,
    /// So many older ones stay beside it; 0 for all.
    pub max_backups: usize,
    /// So many days they stay; 0 for ever.
    pub max_days: u32,
}

enum Message {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

/// The way to the log.
pub struct Log {
    queue: SyncSender<Message>,
    waiting: Arc<AtomicUsize>,
    written: AtomicU64,
    lost: Arc<AtomicU64>,
}

impl Log {
    /// Opens the log.
    pub fn open(place: Place) -> anyhow::Result<Self> {
        let path = place.path.clone();
        let mut file =
            Rotated::open(place).with_context(|| format!("cannot write the audit log {}", path.display()))?;
        let (queue, lines) = sync_channel(WAITING);
        let (waiting, lost) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicU64::new(0)));
        let (still, failed) = (Arc::clone(&waiting), Arc::clone(&lost));
        thread::Builder::new().name("audit".into()).spawn(move || drain(&lines, &mut file, &still, &failed))?;
        Ok(Self { queue, waiting, written: AtomicU64::new(0), lost })
    }

    /// Hands a line over. It is lost, and counted, where too many wait.
    pub fn write(&self, line: Vec<u8>) {
        let size = line.len();
        if self.waiting.fetch_add(size, Relaxed) + size > WAITING_BYTES
            || self.queue.try_send(Message::Line(line)).is_err()
        {
            self.waiting.fetch_sub(size, Relaxed);
            if self.lost.fetch_add(1, Relaxed).is_multiple_of(1000) {
                tracing::error!("audit events are lost: the log's disk is slower than the requests");
            }
            return;
        }
        self.written.fetch_add(1, Relaxed);
    }

    /// How many events were handed over, and how many were lost.
    pub fn counts(&self) -> (u64, u64) {
        (self.written.load(Relaxed), self.lost.load(Relaxed))
    }

    /// Waits for a while until what was handed over is in the file.
    pub fn flush(&self) {
        let (done, is_done) = sync_channel(1);
        if self.queue.send(Message::Flush(done)).is_ok() {
            let _ = is_done.recv_timeout(PATIENCE);
        }
    }
}

fn drain(lines: &Receiver<Message>, file: &mut Rotated, waiting: &AtomicUsize, lost: &AtomicU64) {
    loop {
        let message = match lines.try_recv() {
            Ok(message) => message,
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) => {
                let _ = file.flush();
                match lines.recv() {
                    Ok(message) => message,
                    Err(_) => break,
                }
            }
        };
        match message {
            Message::Line(line) => {
                if let Err(error) = file.write(&line)
                    && lost.fetch_add(1, Relaxed).is_multiple_of(1000)
                {
                    tracing::error!(%error, "audit events are lost: the log cannot be written");
                }
                waiting.fetch_sub(line.len(), Relaxed);
            }
            Message::Flush(done) => {
                let _ = file.flush();
                let _ = done.send(());
            }
        }
    }
    let _ = file.flush();
}

/// A file that is put aside when it grows too large.
struct Rotated {
    place: Place,
    out: io::BufWriter<Box<dyn Write + Send>>,
    size: u64,
}

impl Rotated {
    fn open(place: Place) -> io::Result<Self> {
        let (out, size) = target(&place.path)?;
        Ok(Self { place, out: io::BufWriter::with_capacity(64 * 1024, out), size })
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.size > 0 && self.size + line.len() as u64 > self.place.max_bytes && self.place.path != Path::new("-") {
            self.rotate(Timestamp::now())?;
        }
        self.size += line.len() as u64;
        self.out.write_all(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn rotate(&mut self, now: Timestamp) -> io::Result<()> {
        self.out.flush()?;
        fs::rename(&self.place.path, aside(&self.place.path, now))?;
        let (out, size) = target(&self.place.path)?;
        self.out = io::BufWriter::with_capacity(64 * 1024, out);
        self.size = size;
        self.prune(now)
    }

    /// The backups that are too many or too old go. Their names sort by their time.
    fn prune(&self, now: Timestamp) -> io::Result<()> {
        let Place { max_backups, max_days, .. } = self.place;
        if max_backups == 0 && max_days == 0 {
            return Ok(());
        }
        let (stem, ending) = parts(&self.place.path);
        let folder = self.place.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let mut old: Vec<PathBuf> = Vec::new();
        for entry in fs::read_dir(folder.unwrap_or(Path::new(".")))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let time = name.strip_prefix(&format!("{stem}-")).and_then(|rest| rest.strip_suffix(&ending));
            if time.is_some_and(|time| time.len() == TIME.len() && time.starts_with(|c: char| c.is_ascii_digit())) {
                old.push(path);
            }
        }
        old.sort();
        let many = if max_backups == 0 { 0 } else { old.len().saturating_sub(max_backups) };
        let days = SignedDuration::from_hours(24 * i64::from(max_days));
        let since = (max_days > 0).then(|| aside(&self.place.path, now.saturating_sub(days).unwrap_or(Timestamp::MIN)));
        let is_old = |path: &PathBuf| since.as_ref().is_some_and(|since| path < since);
        let gone = old.iter().enumerate().filter(|(i, path)| *i < many || is_old(path));
        gone.map(|(_, path)| path).try_for_each(fs::remove_file)
    }
}

/// The form of the time in a backup's name.
const TIME: &str = "2026-11-27T10-37-21.123";

/// `audit-2026-11-27T10-37-21.123.log`
fn aside(path: &Path, now: Timestamp) -> PathBuf {
    let (stem, ending) = parts(path);
    let time = now.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H-%M-%S%.3f").to_string();
    path.with_file_name(format!("{stem}-{time}{ending}"))
}

fn parts(path: &Path) -> (String, String) {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let ending = path.extension().map(|ending| format!(".{}", ending.to_string_lossy()));
    (stem, ending.unwrap_or_default())
}

fn target(path: &Path) -> io::Result<(Box<dyn Write + Send>, u64)> {
    use std::os::unix::fs::OpenOptionsExt;
    if path == Path::new("-") {
        return Ok((Box::new(io::stdout()), 0));
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder)?;
    }
    let file: File = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let size = file.metadata()?.len();
    Ok((Box::new(file), size))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_log_is_rotated_by_its_size_and_keeps_some_of_the_old() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let mut file = Rotated::open(Place { path: path.clone(), max_bytes: 10, max_backups: 2, max_days: 0 }).unwrap();
        let mut now: Timestamp = "2026-11-27T10:37:21.123Z".parse().unwrap();
        assert_eq!(aside(&path, now), folder.path().join("audit-2026-11-27T10-37-21.123.log"));
        fs::write(folder.path().join("audit-notes.log"), "not ours").unwrap();
        for i in 0..5 {
            file.write(format!("line {i}\n").as_bytes()).unwrap();
            file.rotate(now).unwrap();
            now += jiff::SignedDuration::from_secs(1);
        }
        file.write(b"last\n").unwrap();
        file.flush().unwrap();
        let mut names: Vec<String> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        assert_eq!(
            names,
            ["audit-2026-11-27T10-37-24.123.log", "audit-2026-11-27T10-37-25.123.log", "audit-notes.log", "audit.log"]
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "last\n");
    }

    #[test]
    fn a_log_forgets_what_is_too_old() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place { path: folder.path().join("audit.log"), max_bytes: 10, max_backups: 0, max_days: 2 };
        let mut file = Rotated::open(place).unwrap();
        let first: Timestamp = "2026-11-27T10:00:00Z".parse().unwrap();
        for hours in [0, 24, 49] {
            file.write(b"line\n").unwrap();
            file.rotate(first + SignedDuration::from_hours(hours)).unwrap();
        }
        let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name.contains('T')).collect();
        names.sort();
        assert_eq!(names, ["audit-2026-11-28T10-00-00.000.log", "audit-2026-11-29T11-00-00.000.log"]);
    }

    #[test]
    fn lines_are_in_the_file_after_a_flush_and_a_file_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place { path: folder.path().join("deep/audit.log"), max_bytes: 1000, max_backups: 1, max_days: 0 };
        for _ in 0..2 {
            let log = Log::open(place.clone()).unwrap();
            log.write(b"a\n".to_vec());
            log.flush();
            assert_eq!(log.counts(), (1, 0));
        }
        assert_eq!(fs::read_to_string(&place.path).unwrap(), "a\na\n");
    }

    #[test]
    fn what_is_too_much_is_lost_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place { path: folder.path().join("audit.log"), max_bytes: 1000, max_backups: 1, max_days: 0 };
        let log = Log::open(place).unwrap();
        log.write(vec![b'x'; WAITING_BYTES + 1]);
        assert_eq!(log.counts(), (0, 1));
        log.write(b"a\n".to_vec());
        assert_eq!(log.counts(), (1, 1));
    }
}
