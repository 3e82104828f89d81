//! `sed`, as far as substituting, deleting and printing go.

use regex::{Captures, Regex};

use super::{Call, Ran, expression, text::inputs};

/// The most bytes of a file that is edited in place.
const MAX_FILE: usize = 16 << 20;

/// Where a command applies.
#[derive(Debug)]
enum Place {
    Line(usize),
    Last,
    Matching(Regex),
}

#[derive(Debug)]
enum What {
    Substitute { of: Regex, by: String, all: bool, print: bool },
    Delete,
    Print,
    Quit,
}

#[derive(Debug)]
struct Command {
    from: Option<Place>,
    to: Option<Place>,
    what: What,
}

/// `sed [-n] [-E] [-i] SCRIPT FILE…`, `sed -e SCRIPT…`
pub async fn run(call: &Call<'_>) -> Ran {
    let (options, mut rest) = call.options("e");
    let has = |letter| options.iter().any(|(given, _)| *given == letter);
    let mut scripts: Vec<String> =
        options.iter().filter(|(letter, _)| *letter == 'e').map(|(_, script)| script.clone()).collect();
    if scripts.is_empty() {
        if rest.is_empty() {
            return call.fail("no script given").await;
        }
        scripts.push(rest.remove(0));
    }
    let Some(commands) = parse(&scripts.join("\n"), has('E') || has('r')) else {
        let script = scripts.join("; ");
        call.streams.stderr.print(format!("kubelab: this script of sed is not simulated: {script}\n")).await?;
        return Ok(1);
    };
    let (inputs, mut status) = inputs(call, &rest).await?;
    for (name, input) in inputs {
        let mut lines = Vec::new();
        let mut size = 0;
        while let Some(line) = input.line().await
            && size < MAX_FILE
        {
            size += line.len();
            lines.push(line);
        }
        let edited = edit(&commands, &lines, has('n'));
        if !has('i') {
            call.print(edited).await?;
            continue;
        }
        let path = call.path(&name);
        let written = call.shell.world.files.write(&path, false);
        if written.and_then(|mut file| std::io::Write::write_all(&mut file, edited.as_bytes())).is_err() {
            status = call.fail(format!("couldn't edit {name}")).await?;
        }
    }
    Ok(status)
}

fn edit(commands: &[Command], lines: &[String], silent: bool) -> String {
    let mut out = String::new();
    // By command: whether its range has begun.
    let mut within = vec![false; commands.len()];
    for (at, line) in lines.iter().enumerate() {
        let end = if line.ends_with('\n') { "\n" } else { "" };
        let mut text = line.trim_end_matches('\n').to_owned();
        let fits = |place: &Place, text: &str| match place {
            Place::Line(number) => at + 1 == *number,
            Place::Last => at + 1 == lines.len(),
            Place::Matching(of) => of.is_match(text),
        };
        let (mut deleted, mut quits) = (false, false);
        for (command, within) in commands.iter().zip(&mut within) {
            let applies = match (&command.from, &command.to) {
                (None, _) => true,
                (Some(from), None) => fits(from, &text),
                (Some(_), Some(to)) if *within => {
                    *within = !fits(to, &text);
                    true
                }
                (Some(from), Some(_)) => {
                    *within = fits(from, &text);
                    *within
                }
            };
            if !applies {
                continue;
            }
            match &command.what {
                What::Substitute { of, by, all, print } => {
                    let found = of.is_match(&text);
                    let replace = |found: &Captures<'_>| filled(by, found);
                    text = if *all { of.replace_all(&text, replace) } else { of.replace(&text, replace) }.into_owned();
                    if *print && found {
                        out.push_str(&format!("{text}\n"));
                    }
                }
                What::Delete => deleted = true,
                What::Print => out.push_str(&format!("{text}\n")),
                What::Quit => quits = true,
            }
            if deleted {
                break;
            }
        }
        if !deleted && !silent {
            out.push_str(&text);
            out.push_str(end);
        }
        if quits {
            break;
        }
    }
    out
}

/// A replacement: `&` is what was found, `\1` a part of it.
fn filled(by: &str, found: &Captures<'_>) -> String {
    let group = |n: usize| found.get(n).map_or("", |group| group.as_str());
    let mut out = String::new();
    let mut chars = by.chars();
    while let Some(c) = chars.next() {
        match c {
            '&' => out.push_str(group(0)),
            '\\' => match chars.next() {
                Some(digit @ '0'..='9') => out.push_str(group(digit as usize - '0' as usize)),
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            c => out.push(c),
        }
    }
    out
}

/// Reads a script; `None` where it has what is not known here.
fn parse(script: &str, extended: bool) -> Option<Vec<Command>> {
    let mut commands = Vec::new();
    let mut rest = script.trim_start_matches([' ', ';', '\n']);
    while !rest.is_empty() {
        let (from, after) = place(rest, extended)?;
        let (to, after) = match after.strip_prefix(',') {
            Some(after) => place(after.trim_start(), extended)?,
            None => (None, after),
        };
        let after = after.trim_start();
        let letter = after.chars().next()?;
        let after = &after[letter.len_utf8()..];
        let (what, after) = match letter {
            'd' => (What::Delete, after),
            'p' => (What::Print, after),
            'q' => (What::Quit, after),
            's' => {
                let delimiter = after.chars().next()?;
                let (of, after) = until(&after[delimiter.len_utf8()..], delimiter)?;
                let (by, after) = until(after, delimiter)?;
                let flags = after.find([';', '\n', ' ']).unwrap_or(after.len());
                let (flags, after) = after.split_at(flags);
                if !flags.chars().all(|flag| "gpiI".contains(flag)) {
                    return None;
                }
                let of = expression::compile(&of, extended, flags.contains(['i', 'I']))?;
                (What::Substitute { of, by, all: flags.contains('g'), print: flags.contains('p') }, after)
            }
            _ => return None,
        };
        if !after.is_empty() && !after.starts_with([';', '\n', ' ']) {
            return None;
        }
        commands.push(Command { from, to, what });
        rest = after.trim_start_matches([' ', ';', '\n']);
    }
    Some(commands)
}

/// The place that a command begins with, if it has one.
fn place(text: &str, extended: bool) -> Option<(Option<Place>, &str)> {
    if let Some(rest) = text.strip_prefix('$') {
        return Some((Some(Place::Last), rest));
    }
    if let Some(rest) = text.strip_prefix('/') {
        let (of, rest) = until(rest, '/')?;
        return Some((Some(Place::Matching(expression::compile(&of, extended, false)?)), rest));
    }
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    if number.is_empty() { Some((None, rest)) } else { Some((Some(Place::Line(number.parse().ok()?)), rest)) }
}

/// What stands before a delimiter, and what behind it. A delimiter behind a backslash is none.
fn until(text: &str, delimiter: char) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        if c == delimiter {
            return Some((out, &text[at + c.len_utf8()..]));
        }
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some((_, c)) if c == delimiter => out.push(c),
            Some((_, c)) => out.extend(['\\', c]),
            None => out.push('\\'),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lines_are_edited_as_scripts_say() {
        let lines: Vec<String> = ["one\n", "two\n", "three\n", "two two"].map(str::to_owned).into();
        for (script, silent, expected) in [
            ("s/two/2/", false, "one\n2\nthree\n2 two"),
            ("s/two/2/g; s|t|T|", false, "one\n2\nThree\n2 2"),
            ("s/\\(t\\)\\(.*\\)/\\2\\1-&/", false, "one\nwot-two\nhreet-three\nwo twot-two two"),
            ("2d;$d", false, "one\nthree\n"),
            ("/^t/d", false, "one\n"),
            ("2,3p", true, "two\nthree\n"),
            ("/o/,/th/s/^/> /", false, "> one\n> two\n> three\n> two two"),
            ("s/TWO/x/Ip", true, "x\nx two\n"),
            ("2q", false, "one\ntwo\n"),
        ] {
            assert_eq!(edit(&parse(script, false).unwrap(), &lines, silent), expected, "{script}");
        }
        for unknown in ["y/a/b/", "s/a/b/w file", "s/a", "a\\text", "{p}"] {
            assert!(parse(unknown, false).is_none(), "{unknown}");
        }
    }
}
