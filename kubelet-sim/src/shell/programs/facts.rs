//! Programs that say where they run.

use jiff::{Timestamp, tz::TimeZone};
use kubelab_client::clock;

use super::{Call, Ran, is_known, modes};
use crate::shell::world::Signal;

/// Runs one of them.
pub async fn run(call: &Call<'_>) -> Ran {
    let world = &call.shell.world;
    let (options, rest) = call.options("");
    let has = |letter| options.iter().any(|(given, _)| *given == letter);
    let text = match call.name {
        "hostname" if has('i') || has('I') => format!("{}\n", world.address),
        "hostname" => format!("{}\n", world.hostname),
        "whoami" => match world.identity.name() {
            Some(name) => format!("{name}\n"),
            None => return call.fail(format!("unknown uid {}", world.identity.user)).await,
        },
        "id" if has('u') && has('n') && world.identity.name().is_some() => "root\n".to_owned(),
        "id" if has('u') => format!("{}\n", world.identity.user),
        "id" if has('g') => format!("{}\n", world.identity.group),
        "id" => format!("{}\n", world.identity),
        "nproc" => "1\n".to_owned(),
        "tty" if call.streams.stdout.is_terminal() => "/dev/pts/0\n".to_owned(),
        "tty" => {
            call.print("not a tty\n").await?;
            return Ok(1);
        }
        "uname" => uname(call, has('a'), has('r'), has('n'), has('m')),
        "uptime" => " up 0 min,  load average: 0.00, 0.00, 0.00\n".to_owned(),
        "df" => modes::df(call),
        "mount" => modes::mounted(call),
        "free" => {
            "              total        used        free\nMem:              0           0           0\n".to_owned()
        }
        "ps" => {
            let command = &world.command;
            let user = world.identity.name().map_or_else(|| world.identity.user.to_string(), str::to_owned);
            format!("PID   USER     TIME  COMMAND\n    1 {user:<9} 0:00 {command}\n    7 {user:<9} 0:00 ps\n")
        }
        "date" => return date(call).await,
        "printenv" if rest.is_empty() => return print_env(call).await,
        "printenv" => {
            let found = rest.iter().filter_map(|name| call.shell.variables.get(name)).filter(|found| found.exported);
            let found: Vec<String> = found.map(|found| format!("{}\n", found.value)).collect();
            call.print(found.concat()).await?;
            return Ok(i32::from(found.len() < rest.len()));
        }
        "which" => {
            let found: Vec<&String> = rest.iter().filter(|name| is_known(call.shell, name)).collect();
            let paths: Vec<String> = found.iter().map(|name| format!("/bin/{name}\n")).collect();
            call.print(paths.concat()).await?;
            return Ok(i32::from(found.len() < rest.len()));
        }
        _ => String::new(),
    };
    call.print(text).await?;
    Ok(0)
}

/// What `env` prints.
pub async fn print_env(call: &Call<'_>) -> Ran {
    let exported = call.shell.variables.iter().filter(|(_, variable)| variable.exported);
    let lines: Vec<String> = exported.map(|(name, variable)| format!("{name}={}\n", variable.value)).collect();
    call.print(lines.concat()).await?;
    Ok(0)
}

fn uname(call: &Call<'_>, all: bool, release: bool, node: bool, machine: bool) -> String {
    let host = &call.shell.world.hostname;
    let arch = std::env::consts::ARCH;
    let text = match (all, release, node, machine) {
        (true, ..) => format!("Linux {host} 6.12.0-kubelab #1 SMP {arch} GNU/Linux"),
        (_, true, ..) => "6.12.0-kubelab".to_owned(),
        (_, _, true, _) => host.clone(),
        (.., true) => arch.to_owned(),
        _ => "Linux".to_owned(),
    };
    text + "\n"
}

/// `date`, `date +%s`, `date -u +%H:%M`, `date -d @0`.
async fn date(call: &Call<'_>) -> Ran {
    let (options, rest) = call.options("d");
    let given = options.iter().find(|(letter, _)| *letter == 'd').and_then(|(_, value)| value.strip_prefix('@'));
    let given = given.and_then(|seconds| seconds.parse().ok()).and_then(|seconds| Timestamp::from_second(seconds).ok());
    let now = given.unwrap_or_else(|| clock::now_micro().0).to_zoned(TimeZone::UTC);
    let iso = options.iter().any(|(letter, _)| *letter == 'I').then_some("%Y-%m-%d");
    let format = rest.iter().find_map(|argument| argument.strip_prefix('+')).or(iso);
    let format = format.unwrap_or("%a %b %e %H:%M:%S %Z %Y").replace("%N", "%9f");
    // jiff refuses what it does not know; upstream's date prints it as it is.
    let text = jiff::fmt::strtime::format(&format, &now).unwrap_or(format);
    call.print(text + "\n").await?;
    Ok(0)
}

/// Sends a signal to the container's first process, or to one that the shell started; others are not there.
pub async fn kill(call: &mut Call<'_>) -> Ran {
    let mut signal = Signal::Term;
    let mut arguments = call.arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "-s" => {
                signal = if arguments.next().is_some_and(|name| name.ends_with("KILL")) { Signal::Kill } else { signal }
            }
            "-9" | "-KILL" | "-SIGKILL" => signal = Signal::Kill,
            "-0" => signal = Signal::None,
            // As process 1 it cannot be killed from within.
            "1" if signal == Signal::Kill => {}
            "1" => (call.shell.world.signal)(signal),
            option if option.starts_with('-') => {}
            pid if pid.parse().is_ok_and(|pid| call.shell.jobs.signal(pid, signal)) => {}
            pid => return call.fail(format!("can't kill pid {pid}: No such process")).await,
        }
    }
    Ok(0)
}
