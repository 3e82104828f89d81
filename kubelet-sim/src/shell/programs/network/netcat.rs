//! `nc`: connects, and listens. Source of options and words: busybox's, and those of OpenBSD's that examples use.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use kubelab_client::clock;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, split},
    sync::mpsc,
};

use super::{Call, Ran, bad_address, seconds};
use crate::{
    network::{Failure, Protocol, connect},
    shell::streams::{Input, Streams, pipe},
};

/// Bytes read at a time.
const CHUNK: usize = 16 << 10;

/// `nc [-zvu] [-w SEC] HOST PORT`, `nc -l [-k] [-p] PORT [-e PROGRAM…]`
pub async fn run(call: &mut Call<'_>) -> Ran {
    // What stands behind `-e` is the program's own.
    let is_last = |word: &String| word.starts_with('-') && !word.starts_with("--") && word.ends_with('e');
    let arguments = call.arguments;
    let (own, program) = match arguments.iter().position(is_last) {
        Some(at) => (&arguments[..=at], &arguments[at + 1..]),
        None => (arguments, &[][..]),
    };
    let own = Call { shell: &mut *call.shell, name: call.name, arguments: own, streams: call.streams };
    let (options, rest) = own.options("wpsi");
    let option = |letter| options.iter().find(|(given, _)| *given == letter).map(|(_, value)| value.as_str());
    let has = |letter| option(letter).is_some();
    let patience = option('w').and_then(seconds);
    if has('l') {
        let port = option('p').or(rest.last().map(String::as_str)).unwrap_or_default();
        let Ok(port) = port.parse::<u16>() else { return call.fail(format!("bad port '{port}'")).await };
        return listen(call, port, has('k'), program, patience).await;
    }
    let (Some(host), Some(ports)) = (rest.first(), rest.get(1)) else {
        call.warn("BusyBox v1.36.1 multi-call binary.\n\nUsage: nc [-vzu] [-w SEC] IPADDR PORT\n").await?;
        return Ok(1);
    };
    let protocol = if has('u') { Protocol::Udp } else { Protocol::Tcp };
    let addresses = match call.resolver().addresses(host).await {
        Ok(addresses) => addresses,
        Err(why) => return call.fail(bad_address(host, why)).await,
    };
    let Some(address) = addresses.first() else { return Ok(1) };
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) else {
        return call.fail(format!("bad port '{ports}'")).await;
    };
    let mut status = 1;
    for port in first..=last {
        let to = SocketAddr::new(*address, port);
        match connect(call.network(), to, protocol, patience).await {
            Ok(stream) => {
                status = 0;
                if has('v') {
                    call.warn(format!("{host} ({to}) open\n")).await?;
                }
                if !has('z') {
                    return talk(call, stream, patience).await;
                }
            }
            // A scan of several ports is silent about closed ones.
            Err(failure) if has('v') || (first == last && !has('z')) => {
                let why = if patience.is_some() && failure == Failure::Dropped {
                    "timed out".to_owned()
                } else if has('v') {
                    format!("{host} ({to}): {failure}")
                } else {
                    format!("can't connect to remote host ({address}): {failure}")
                };
                call.fail(why).await?;
            }
            Err(_) => {}
        }
    }
    Ok(status)
}

/// Takes a connection, or with `again` one after the other, and talks to it or lets a program do so.
async fn listen(call: &mut Call<'_>, port: u16, again: bool, program: &[String], patience: Option<Duration>) -> Ran {
    let Some(mut connections) = (call.shell.world.accept)(port) else {
        return call.fail("bind: Address already in use").await;
    };
    loop {
        let connection = match patience.filter(|_| !again) {
            Some(time) => tokio::select! {
                connection = connections.recv() => connection,
                () = clock::sleep(time) => return call.fail("timed out").await,
            },
            None => connections.recv().await,
        };
        let Some(connection) = connection else { return Ok(1) };
        let status = match program.split_first() {
            Some((program, arguments)) => serve(call, connection, program, arguments).await,
            None => talk(call, connection, patience).await?,
        };
        if !again {
            return Ok(status);
        }
    }
}

/// Runs a program whose input and output are the connection.
async fn serve(call: &mut Call<'_>, connection: DuplexStream, program: &str, arguments: &[String]) -> i32 {
    let (mut read, mut write) = split(connection);
    let (heard, hears) = mpsc::channel(1);
    let listening = tokio::spawn(async move {
        let mut buffer = vec![0; CHUNK];
        while let Ok(length @ 1..) = read.read(&mut buffer).await {
            if heard.send(Bytes::copy_from_slice(&buffer[..length])).await.is_err() {
                return;
            }
        }
    });
    let (output, said) = pipe();
    let speaking = async {
        while let Some(bytes) = said.read().await {
            if write.write_all(&bytes).await.is_err() {
                break;
            }
        }
        write.shutdown().await.ok();
    };
    let streams = Streams { stdin: Input::live(hears), stdout: output, stderr: call.streams.stderr.clone() };
    let running = async {
        let outcome = Box::pin(call.shell.call(program, arguments, &streams)).await;
        drop(streams);
        outcome
    };
    let (outcome, ()) = tokio::join!(running, speaking);
    listening.abort();
    outcome.unwrap_or(1)
}

/// Brings input there and what comes back here, until the other side has said all.
async fn talk(call: &Call<'_>, stream: DuplexStream, patience: Option<Duration>) -> Ran {
    let (mut read, mut write) = split(stream);
    let send = async {
        while let Some(bytes) = call.streams.stdin.read().await {
            if write.write_all(&bytes).await.is_err() {
                break;
            }
        }
        write.shutdown().await.ok();
        match patience {
            // Once the input has ended, silence ends it.
            Some(time) => clock::sleep(time).await,
            None => std::future::pending().await,
        }
    };
    let receive = async {
        let mut buffer = vec![0; CHUNK];
        while let Ok(length @ 1..) = read.read(&mut buffer).await {
            call.streams.stdout.write(&buffer[..length]).await?;
        }
        Ok(0)
    };
    tokio::select! {
        ran = receive => ran,
        () = send => Ok(0),
    }
}
