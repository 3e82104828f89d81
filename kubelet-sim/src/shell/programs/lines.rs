//! Programs that choose and change lines.

use super::{Call, Ran, expression, text::inputs};
use crate::shell::expand::unescape;

/// The most lines that are sorted.
const MAX_LINES: usize = 200_000;

/// `grep`
pub async fn grep(call: &Call<'_>) -> Ran {
    let (options, mut rest) = call.options("e");
    let has = |letter| options.iter().any(|(given, _)| *given == letter);
    let pattern = match options.iter().find(|(letter, _)| *letter == 'e') {
        Some((_, pattern)) => pattern.clone(),
        None if rest.is_empty() => return call.fail("missing pattern").await.map(|_| 2),
        None => rest.remove(0),
    };
    let pattern = if has('F') { regex::escape(&pattern) } else { pattern };
    let pattern = if has('w') { format!("\\b{pattern}\\b") } else { pattern };
    let Some(pattern) = expression::compile(&pattern, has('E') || has('F'), has('i')) else {
        return call.fail("bad regex").await.map(|_| 2);
    };
    let (inputs, status) = inputs(call, &rest).await?;
    let mut found = 0;
    let named = inputs.len() > 1;
    for (name, input) in inputs {
        while let Some(line) = input.line().await {
            let text = line.trim_end_matches('\n');
            if pattern.is_match(text) == has('v') {
                continue;
            }
            found += 1;
            if has('q') {
                return Ok(0);
            }
            let prefix = if named && !has('h') { format!("{name}:") } else { String::new() };
            if has('o') {
                for part in pattern.find_iter(text) {
                    call.print(format!("{prefix}{}\n", part.as_str())).await?;
                }
            } else if !has('c') {
                call.print(format!("{prefix}{text}\n")).await?;
            }
        }
    }
    if has('c') {
        call.print(format!("{found}\n")).await?;
    }
    Ok(if status != 0 { 2 } else { i32::from(found == 0) })
}

/// `sort`, `uniq` and `rev`.
pub async fn by_lines(call: &Call<'_>) -> Ran {
    let (options, files) = call.options("");
    let has = |letter| options.iter().any(|(given, _)| *given == letter);
    let (inputs, status) = inputs(call, &files).await?;
    let mut lines = Vec::new();
    for (_, input) in inputs {
        while let Some(line) = input.line().await
            && lines.len() < MAX_LINES
        {
            lines.push(line.trim_end_matches('\n').to_owned());
        }
    }
    match call.name {
        "sort" => {
            if has('n') {
                lines.sort_by_key(|line| {
                    line.split_whitespace().next().and_then(|n| n.parse::<i64>().ok()).unwrap_or(0)
                });
            } else {
                lines.sort();
            }
            if has('r') {
                lines.reverse();
            }
            if has('u') {
                lines.dedup();
            }
        }
        "rev" => lines.iter_mut().for_each(|line| *line = line.chars().rev().collect()),
        _ if has('c') => {
            let mut counted: Vec<(usize, String)> = Vec::new();
            for line in lines {
                match counted.last_mut() {
                    Some((count, last)) if *last == line => *count += 1,
                    _ => counted.push((1, line)),
                }
            }
            lines = counted.into_iter().map(|(count, line)| format!("{count:7} {line}")).collect();
        }
        _ => lines.dedup(),
    }
    for line in lines {
        call.print(line + "\n").await?;
    }
    Ok(status)
}

/// `cut` and `tr`.
pub async fn columns(call: &Call<'_>) -> Ran {
    let (options, rest) = call.options("dfc");
    let value = |letter| options.iter().find(|(given, _)| *given == letter).map(|(_, value)| value.as_str());
    if call.name == "cut" {
        let delimiter = value('d').unwrap_or("\t").to_owned();
        let wanted: Vec<usize> =
            value('f').unwrap_or("1").split(',').filter_map(|field| field.parse().ok()).filter(|n| *n > 0).collect();
        let (inputs, status) = inputs(call, &rest).await?;
        for (_, input) in inputs {
            while let Some(line) = input.line().await {
                let fields: Vec<&str> = line.trim_end_matches('\n').split(&delimiter).collect();
                let shown: Vec<&str> = wanted.iter().filter_map(|n| fields.get(n - 1).copied()).collect();
                call.print(shown.join(&delimiter) + "\n").await?;
            }
        }
        return Ok(status);
    }
    let set = |text: &str| -> Vec<char> {
        let text: Vec<char> = unescape(text).0.chars().collect();
        match text[..] {
            [from, '-', to] => (from..=to).collect(),
            _ => text,
        }
    };
    let delete = options.iter().any(|(letter, _)| *letter == 'd');
    let from = if delete { set(value('d').unwrap_or_default()) } else { set(rest.first().map_or("", String::as_str)) };
    let to = set(rest.get(1).map_or("", String::as_str));
    while let Some(line) = call.streams.stdin.line().await {
        let changed: String = line
            .chars()
            .filter_map(|c| match from.iter().position(|f| *f == c) {
                Some(_) if delete => None,
                Some(at) => to.get(at).or(to.last()).copied().or(Some(c)),
                None => Some(c),
            })
            .collect();
        call.print(changed).await?;
    }
    Ok(0)
}
