//! Scripts, taken apart by the parser within bounds.

use brush_parser::{Parser, ParserOptions, ast};

/// The longest script, and how deep its parts may lie in each other: the parser recurses.
const MAX_SCRIPT: usize = 64 << 10;
const MAX_DEPTH: usize = 48;

/// A script, taken apart.
pub fn parse(script: &str) -> Result<ast::Program, String> {
    if script.len() > MAX_SCRIPT {
        return Err("script too long".to_owned());
    }
    if depth(script) > MAX_DEPTH {
        return Err("commands nested too deep".to_owned());
    }
    let options = ParserOptions { sh_mode: false, ..ParserOptions::default() };
    Parser::new(script.as_bytes(), &options).parse_program().map_err(|error| {
        let text = error.to_string();
        format!("syntax error: {}", text.lines().next().unwrap_or_default())
    })
}

/// The program that a script ends with: `server` in `setup && exec server`.
pub fn last_program(script: &str) -> Option<String> {
    let program = parse(script).ok()?;
    let last = program.complete_commands.last()?.0.last()?;
    let pipeline = last.0.additional.last().map_or(&last.0.first, |next| match next {
        ast::AndOr::And(pipeline) | ast::AndOr::Or(pipeline) => pipeline,
    });
    let ast::Command::Simple(command) = pipeline.seq.last()? else { return None };
    Some(command.word_or_name.as_ref()?.value.clone())
}

/// How deep a script nests at most, at a guess that is never too low.
fn depth(script: &str) -> usize {
    let (mut now, mut deepest) = (0_usize, 0);
    for word in script.split(|c: char| c.is_whitespace() || c == ';') {
        match word {
            "if" | "while" | "until" | "for" | "case" | "do" | "then" | "!" => now += 1,
            "fi" | "esac" | "done" => now = now.saturating_sub(2),
            _ => {}
        }
        for c in word.chars() {
            match c {
                '(' | '{' | '`' | '[' => now += 1,
                ')' | '}' | ']' => now = now.saturating_sub(1),
                _ => {}
            }
            deepest = deepest.max(now);
        }
        deepest = deepest.max(now);
    }
    deepest
}
