//! Programs that read and write text.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{Call, Ran, lines};
use crate::shell::{expand::unescape, files::describe, streams::Input};

/// The most lines that are sorted or counted from the end.
const MAX_LINES: usize = 200_000;

/// How often a followed file is looked at. Source: coreutils' tail.
const TAIL_EVERY: std::time::Duration = std::time::Duration::from_secs(1);

/// Runs one of them.
pub async fn run(call: &Call<'_>) -> Ran {
    match call.name {
        "echo" => echo(call).await,
        "printf" => printf(call).await,
        "cat" => cat(call).await,
        "head" => head(call).await,
        "tail" => tail(call).await,
        "wc" => wc(call).await,
        "grep" => lines::grep(call).await,
        "sort" | "uniq" | "rev" => lines::by_lines(call).await,
        "seq" => seq(call).await,
        "yes" => yes(call).await,
        "tee" => tee(call).await,
        "tr" | "cut" => lines::columns(call).await,
        "base64" => encode(call).await,
        "basename" | "dirname" => name_of(call).await,
        "pwd" => {
            call.print(format!("{}\n", call.shell.folder)).await?;
            Ok(0)
        }
        _ => Ok(0),
    }
}

async fn echo(call: &Call<'_>) -> Ran {
    let mut words = call.arguments;
    let (mut newline, mut escapes) = (true, false);
    while let Some((first, rest)) = words.split_first() {
        let letters = first.strip_prefix('-').unwrap_or_default();
        if letters.is_empty() || !letters.chars().all(|c| "neE".contains(c)) {
            break;
        }
        newline &= !letters.contains('n');
        escapes |= letters.contains('e');
        words = rest;
    }
    let text = words.join(" ");
    let (mut text, ended) = if escapes { unescape(&text) } else { (text, false) };
    if newline && !ended {
        text.push('\n');
    }
    call.print(text).await?;
    Ok(0)
}

async fn printf(call: &Call<'_>) -> Ran {
    let Some((format, mut arguments)) = call.arguments.split_first() else {
        call.streams.stderr.print("printf: usage: printf format [arguments]\n").await?;
        return Ok(2);
    };
    let mut text = String::new();
    loop {
        let before = arguments.len();
        let mut chars = format.chars().peekable();
        let mut plain = String::new();
        while let Some(c) = chars.next() {
            if c != '%' {
                plain.push(c);
                continue;
            }
            text.push_str(&unescape(&std::mem::take(&mut plain)).0);
            let mut spec = String::new();
            while chars.peek().is_some_and(|c| "-+ 0#.123456789".contains(*c)) {
                spec.extend(chars.next());
            }
            let kind = chars.next().unwrap_or('%');
            if kind == '%' {
                text.push('%');
                continue;
            }
            let argument = arguments.first().map_or("", String::as_str);
            arguments = arguments.get(1..).unwrap_or_default();
            text.push_str(&formatted(&spec, kind, argument));
        }
        text.push_str(&unescape(&plain).0);
        if arguments.is_empty() || arguments.len() == before {
            break;
        }
    }
    call.print(text).await?;
    Ok(0)
}

fn formatted(spec: &str, kind: char, argument: &str) -> String {
    let number = || argument.trim().parse::<i64>().unwrap_or(0);
    let (width, precision) = spec.trim_start_matches(['-', '+', ' ', '#', '0']).split_once('.').map_or_else(
        || (spec.trim_start_matches(['-', '+', ' ', '#', '0']), None),
        |(width, precision)| (width, precision.parse::<usize>().ok()),
    );
    let value = match kind {
        'd' | 'i' | 'u' => number().to_string(),
        'x' => format!("{:x}", number()),
        'X' => format!("{:X}", number()),
        'o' => format!("{:o}", number()),
        'c' => argument.chars().take(1).collect(),
        'f' => format!("{:.*}", precision.unwrap_or(6), argument.parse::<f64>().unwrap_or(0.0)),
        'b' => unescape(argument).0,
        _ => argument.chars().take(precision.unwrap_or(usize::MAX)).collect(),
    };
    let width = width.parse::<usize>().unwrap_or(0).min(1024);
    if spec.starts_with('-') {
        format!("{value:<width$}")
    } else if spec.starts_with('0') && kind != 's' {
        format!("{value:0>width$}")
    } else {
        format!("{value:>width$}")
    }
}

/// What a program reads: its files, or its standard input. Says what cannot be read.
pub async fn inputs(call: &Call<'_>, files: &[String]) -> Result<(Vec<(String, Input)>, i32), super::Broken> {
    let mut inputs = Vec::new();
    let mut status = 0;
    for file in files {
        if file == "-" {
            inputs.push((file.clone(), call.streams.stdin.clone()));
            continue;
        }
        let path = call.path(file);
        match call.shell.world.files.read(&path) {
            _ if path == "/dev/null" => inputs.push((file.clone(), Input::empty())),
            Ok(bytes) => inputs.push((file.clone(), Input::from(bytes))),
            Err(error) => {
                let why = describe(&error);
                let message = match call.name {
                    "cat" | "tail" if !call.shell.world.userland.has_bash() => format!("can't open '{file}': {why}"),
                    _ => format!("{file}: {why}"),
                };
                status = call.fail(message).await?;
            }
        }
    }
    if files.is_empty() {
        inputs.push((String::new(), call.streams.stdin.clone()));
    }
    Ok((inputs, status))
}

async fn cat(call: &Call<'_>) -> Ran {
    let (options, files) = call.options("");
    let (inputs, status) = inputs(call, &files).await?;
    let mut number = 0;
    for (_, input) in inputs {
        if options.iter().any(|(letter, _)| *letter == 'n') {
            while let Some(line) = input.line().await {
                number += 1;
                call.print(format!("{number:6}\t{line}")).await?;
            }
        }
        while let Some(bytes) = input.read().await {
            call.streams.stdout.write(&bytes).await?;
        }
    }
    Ok(status)
}

/// `-n 5`, `-5`
fn count(call: &Call<'_>, default: usize) -> (usize, Vec<(char, String)>, Vec<String>) {
    let (options, files) = call.options("nc");
    let digits: String = options.iter().filter(|(c, _)| c.is_ascii_digit()).map(|(c, _)| c).collect();
    let given = options.iter().find(|(letter, _)| *letter == 'n').map_or(digits.as_str(), |(_, value)| value);
    (given.trim_start_matches('+').parse().unwrap_or(default), options, files)
}

async fn head(call: &Call<'_>) -> Ran {
    let (lines, options, files) = count(call, 10);
    let (inputs, status) = inputs(call, &files).await?;
    let bytes = options.iter().find(|(letter, _)| *letter == 'c').and_then(|(_, value)| value.parse().ok());
    for (_, input) in inputs {
        if let Some(mut left) = bytes {
            while left > 0
                && let Some(mut data) = input.read().await
            {
                data.truncate(left);
                left -= data.len();
                call.streams.stdout.write(&data).await?;
            }
            continue;
        }
        for _ in 0..lines {
            let Some(line) = input.line().await else { break };
            call.print(line).await?;
        }
    }
    Ok(status)
}

async fn tail(call: &Call<'_>) -> Ran {
    let (lines, options, files) = count(call, 10);
    // `-n +3`: from the third line on.
    let from = options.iter().find(|(letter, value)| *letter == 'n' && value.starts_with('+')).map(|_| lines);
    let (inputs, status) = inputs(call, &files).await?;
    for (_, input) in inputs {
        if let Some(from) = from {
            let mut number = 0;
            while let Some(line) = input.line().await {
                number += 1;
                if number >= from {
                    call.print(line).await?;
                }
            }
            continue;
        }
        let mut last = std::collections::VecDeque::new();
        while let Some(line) = input.line().await {
            last.push_back(line);
            if last.len() > lines.min(MAX_LINES) {
                last.pop_front();
            }
        }
        for line in last {
            call.print(line).await?;
        }
    }
    if options.iter().any(|(letter, _)| matches!(letter, 'f' | 'F')) {
        follow(call, &files).await?;
    }
    Ok(status)
}

/// Shows what is appended to files, for ever.
async fn follow(call: &Call<'_>, files: &[String]) -> Result<(), super::Broken> {
    let paths: Vec<String> = files.iter().map(|file| call.path(file)).collect();
    let files = &call.shell.world.files;
    let length = |path: &String| files.about_target(path).map_or(0, |about| about.len() as usize);
    let mut seen: Vec<usize> = paths.iter().map(length).collect();
    loop {
        call.shell.world.sleep(TAIL_EVERY).await;
        for (path, seen) in paths.iter().zip(&mut seen) {
            files.look(path).await;
            let now = length(path);
            if now > *seen {
                let bytes = files.read(path).unwrap_or_default();
                call.streams.stdout.write(bytes.get(*seen..).unwrap_or_default()).await?;
            }
            *seen = now;
        }
    }
}

async fn wc(call: &Call<'_>) -> Ran {
    let (options, files) = call.options("");
    let (inputs, status) = inputs(call, &files).await?;
    for (name, input) in inputs {
        let (mut lines, mut words, mut bytes) = (0, 0, 0);
        while let Some(line) = input.line().await {
            lines += usize::from(line.ends_with('\n'));
            words += line.split_whitespace().count();
            bytes += line.len();
        }
        let shown = |letter| options.is_empty() || options.iter().any(|(given, _)| *given == letter);
        let counts = [('l', lines), ('w', words), ('c', bytes)];
        let counts: Vec<String> =
            counts.iter().filter(|(letter, _)| shown(*letter)).map(|(_, count)| count.to_string()).collect();
        let name = if name.is_empty() { name } else { format!(" {name}") };
        call.print(format!("{}{name}\n", counts.join(" "))).await?;
    }
    Ok(status)
}

async fn seq(call: &Call<'_>) -> Ran {
    let numbers: Vec<i64> = call.arguments.iter().filter_map(|text| text.parse().ok()).collect();
    let (first, step, last) = match numbers[..] {
        [last] => (1, 1, last),
        [first, last] => (first, 1, last),
        [first, step, last] if step != 0 => (first, step, last),
        _ => return call.fail("invalid number").await,
    };
    let mut value = first;
    let mut count: u32 = 0;
    while if step > 0 { value <= last } else { value >= last } {
        call.print(format!("{value}\n")).await?;
        let Some(next) = value.checked_add(step) else { break };
        value = next;
        pause(call, &mut count).await;
    }
    Ok(0)
}

async fn yes(call: &Call<'_>) -> Ran {
    let line = if call.arguments.is_empty() { "y\n".to_owned() } else { call.arguments.join(" ") + "\n" };
    let mut count = 0;
    loop {
        call.print(&line).await?;
        pause(call, &mut count).await;
    }
}

/// Lets others run now and then.
async fn pause(call: &Call<'_>, count: &mut u32) {
    *count += 1;
    if count.is_multiple_of(1000) {
        call.shell.world.sleep(std::time::Duration::from_millis(5)).await;
    }
}

async fn tee(call: &Call<'_>) -> Ran {
    let (options, files) = call.options("");
    let append = options.iter().any(|(letter, _)| *letter == 'a');
    let mut outputs = vec![call.streams.stdout.clone()];
    let mut status = 0;
    for file in files {
        match call.shell.world.files.write(&call.path(&file), append) {
            Ok(opened) => outputs.push(crate::shell::streams::Output::file(opened)),
            Err(error) => status = call.fail(format!("{file}: {}", describe(&error))).await?,
        }
    }
    while let Some(bytes) = call.streams.stdin.read().await {
        for output in &outputs {
            output.write(&bytes).await?;
        }
    }
    Ok(status)
}

async fn encode(call: &Call<'_>) -> Ran {
    let (options, files) = call.options("w");
    let (inputs, status) = inputs(call, &files).await?;
    let mut bytes = Vec::new();
    for (_, input) in inputs {
        while let Some(more) = input.read().await
            && bytes.len() < 16 << 20
        {
            bytes.extend_from_slice(&more);
        }
    }
    if options.iter().any(|(letter, _)| *letter == 'd') {
        bytes.retain(|byte| !byte.is_ascii_whitespace());
        return match STANDARD.decode(&bytes) {
            Ok(decoded) => call.streams.stdout.write(&decoded).await.map(|()| status),
            Err(_) => call.fail("invalid input").await,
        };
    }
    call.print(STANDARD.encode(&bytes) + "\n").await?;
    Ok(status)
}

async fn name_of(call: &Call<'_>) -> Ran {
    let path = call.arguments.first().map_or("", String::as_str).trim_end_matches('/');
    let (folder, name) = path.rsplit_once('/').unwrap_or((".", path));
    let suffix = call.arguments.get(1).map_or("", String::as_str);
    let shown = if call.name == "basename" { name.strip_suffix(suffix).unwrap_or(name) } else { folder };
    call.print(format!("{}\n", if shown.is_empty() { "/" } else { shown })).await?;
    Ok(0)
}
