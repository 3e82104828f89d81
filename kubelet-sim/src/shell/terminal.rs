//! What a kernel's terminal does between a person's keys and a program: echo, editing of the line, ^C and ^D. Clients put
//! their own terminal into raw mode and leave all of this to us.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};

use super::streams::Output;

/// The most that one line holds. Source: `N_TTY_BUF_SIZE` of Linux.
const MAX_LINE: usize = 4096;

/// What a terminal makes of one key.
#[derive(Debug, PartialEq, Eq)]
enum Effect {
    /// Show this.
    Echo(Vec<u8>),
    /// The line is done: show a new one, hand this over.
    Line(Vec<u8>),
    /// ^C
    Interrupt,
    /// ^D on an empty line.
    End,
    /// Nothing.
    None,
}

/// The line that is being typed.
#[derive(Default)]
struct Line {
    bytes: Vec<u8>,
    /// Within an escape sequence, which is swallowed: arrows do not move here.
    escape: Escape,
}

#[derive(Default, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    Begun,
    Control,
}

impl Line {
    fn key(&mut self, key: u8) -> Effect {
        match (&self.escape, key) {
            (Escape::Begun, b'[' | b'O') => {
                self.escape = Escape::Control;
                return Effect::None;
            }
            (Escape::Begun, _) => {
                self.escape = Escape::None;
                return Effect::None;
            }
            (Escape::Control, _) => {
                if (0x40..=0x7e).contains(&key) {
                    self.escape = Escape::None;
                }
                return Effect::None;
            }
            (Escape::None, _) => {}
        }
        match key {
            b'\r' | b'\n' => {
                let mut line = std::mem::take(&mut self.bytes);
                line.push(b'\n');
                Effect::Line(line)
            }
            0x03 => {
                self.bytes.clear();
                Effect::Interrupt
            }
            0x04 if self.bytes.is_empty() => Effect::End,
            0x04 => Effect::Line(std::mem::take(&mut self.bytes)),
            0x7f | 0x08 => self.erase(1),
            // ^U and ^W
            0x15 => self.erase(usize::MAX),
            0x17 => {
                let text = String::from_utf8_lossy(&self.bytes).into_owned();
                let kept = text.trim_end().rfind(' ').map_or(0, |at| at + 1);
                self.erase(text[kept..].chars().count())
            }
            0x1b => {
                self.escape = Escape::Begun;
                Effect::None
            }
            b'\t' | 0x20.. if self.bytes.len() < MAX_LINE => {
                self.bytes.push(key);
                Effect::Echo(vec![key])
            }
            _ => Effect::None,
        }
    }

    fn erase(&mut self, most: usize) -> Effect {
        let mut echo = Vec::new();
        for _ in 0..most {
            // All bytes of the last character.
            while self.bytes.pop_if(|byte| *byte & 0xc0 == 0x80).is_some() {}
            if self.bytes.pop().is_none() {
                break;
            }
            echo.extend_from_slice(b"\x08 \x08");
        }
        if echo.is_empty() { Effect::None } else { Effect::Echo(echo) }
    }
}

/// Brings what is typed to a program, line by line. An empty message is ^D: the end for whoever reads then.
pub async fn run(mut keys: mpsc::Receiver<Bytes>, lines: mpsc::Sender<Bytes>, screen: Output, interrupt: Arc<Notify>) {
    let mut line = Line::default();
    while let Some(typed) = keys.recv().await {
        // What is typed at once is shown at once, before a program answers to a part of it.
        let (mut shown, mut sent) = (Vec::new(), Vec::new());
        for key in typed {
            match line.key(key) {
                Effect::Echo(echo) => shown.extend(echo),
                Effect::Line(line) => {
                    if line.ends_with(b"\n") {
                        shown.extend_from_slice(b"\r\n");
                    }
                    sent.push(line);
                }
                Effect::Interrupt => {
                    // Kept for a program that has just been started and does not listen yet.
                    interrupt.notify_one();
                    shown.extend_from_slice(b"^C\r\n");
                }
                Effect::End => sent.push(Vec::new()),
                Effect::None => {}
            }
        }
        if screen.write(&shown).await.is_err() {
            return;
        }
        for line in sent {
            if lines.send(line.into()).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is shown and what is handed over when these keys are typed.
    fn typed(keys: &str) -> (String, Vec<String>) {
        let mut line = Line::default();
        let (mut shown, mut sent) = (String::new(), Vec::new());
        for key in keys.bytes() {
            match line.key(key) {
                Effect::Echo(bytes) => shown.push_str(&String::from_utf8_lossy(&bytes)),
                Effect::Line(bytes) => sent.push(String::from_utf8_lossy(&bytes).into_owned()),
                Effect::Interrupt => sent.push("^C".to_owned()),
                Effect::End => sent.push("^D".to_owned()),
                Effect::None => {}
            }
        }
        (shown, sent)
    }

    #[test]
    fn keys_make_lines() {
        for (keys, shown, sent) in [
            ("ls\r", "ls", &["ls\n"][..]),
            ("lx\x7fs\r", "lx\x08 \x08s", &["ls\n"]),
            ("\x7f\r", "", &["\n"]),
            ("abc\x15ok\r", "abc\x08 \x08\x08 \x08\x08 \x08ok", &["ok\n"]),
            ("a bc\x17d\r", "a bc\x08 \x08\x08 \x08d", &["a d\n"]),
            ("abc\x03x\r", "abcx", &["^C", "x\n"]),
            ("\x04", "", &["^D"]),
            ("ab\x04", "ab", &["ab"]),
            ("a\x1b[Db\r", "ab", &["ab\n"]),
        ] {
            let sent: Vec<String> = sent.iter().map(|text| (*text).to_owned()).collect();
            assert_eq!(typed(keys), (shown.to_owned(), sent), "{keys:?}");
        }
    }
}
