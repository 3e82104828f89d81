//! `nc` and `ping`.

use std::{net::SocketAddr, time::Duration};

use kubelab_client::clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt, split};

use super::{Call, Ran, bad_address, seconds};
use crate::network::{Failure, Protocol, connect, datagrams};

/// Bytes read at a time.
const CHUNK: usize = 16 << 10;

/// A port that nobody uses: who refuses it is there.
const ECHO: u16 = 7;

/// How long a ping waits for its answer.
const PING_TIMEOUT: Duration = Duration::from_secs(1);

/// `nc [-zvu] [-w SEC] HOST PORT`
pub async fn nc(call: &Call<'_>) -> Ran {
    let (options, rest) = call.options("wpsi");
    let has = |letter| options.iter().any(|(given, _)| *given == letter);
    if has('l') {
        return call.fail("a simulated container cannot listen by nc: use an image that serves").await;
    }
    let (Some(host), Some(ports)) = (rest.first(), rest.get(1)) else {
        call.warn("BusyBox v1.36.1 multi-call binary.\n\nUsage: nc [-vzu] [-w SEC] IPADDR PORT\n").await?;
        return Ok(1);
    };
    let patience = options.iter().find(|(given, _)| *given == 'w').and_then(|(_, value)| seconds(value));
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
                    let stream = if has('u') { datagrams::plain(stream) } else { stream };
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

/// Brings input there and what comes back here, until the other side has said all.
async fn talk(call: &Call<'_>, stream: tokio::io::DuplexStream, patience: Option<Duration>) -> Ran {
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

/// `ping [-c COUNT] [-W SEC] [-i SEC] [-q] HOST`. Without a count it goes on until it is interrupted.
pub async fn ping(call: &Call<'_>) -> Ran {
    let (options, rest) = call.options("cWiwsI");
    let option = |letter| options.iter().find(|(given, _)| *given == letter).map(|(_, value)| value.as_str());
    let Some(host) = rest.first() else { return call.fail("missing host operand").await };
    let addresses = match call.resolver().addresses(host).await {
        Ok(addresses) => addresses,
        Err(why) => return call.fail(bad_address(host, why)).await,
    };
    let Some(address) = addresses.first() else { return Ok(1) };
    let count: u64 = option('c').and_then(|count| count.parse().ok()).unwrap_or(u64::MAX);
    let wait = option('W').and_then(seconds).unwrap_or(PING_TIMEOUT);
    let interval = option('i').and_then(seconds).unwrap_or(Duration::from_secs(1));
    let quiet = option('q').is_some();
    call.print(format!("PING {host} ({address}): 56 data bytes\n")).await?;
    let (mut times, mut sent) = (Vec::new(), 0);
    for sequence in 0..count {
        let began = clock::instant();
        sent += 1;
        let heard = connect(call.network(), SocketAddr::new(*address, ECHO), Protocol::Tcp, Some(wait)).await;
        if matches!(heard, Ok(_) | Err(Failure::Refused)) {
            let time = began.elapsed().as_secs_f64() * 1000.0;
            times.push(time);
            if !quiet {
                call.print(format!("64 bytes from {address}: seq={sequence} ttl=62 time={time:.3} ms\n")).await?;
            }
        }
        if sequence + 1 < count {
            call.shell.world.sleep(interval).await;
        }
    }
    let lost = 100 * (sent - times.len() as u64) / sent.max(1);
    let mut text = format!(
        "\n--- {host} ping statistics ---\n{sent} packets transmitted, {} packets received, {lost}% packet loss\n",
        times.len()
    );
    if let (Some(least), Some(most)) = (times.iter().copied().reduce(f64::min), times.iter().copied().reduce(f64::max))
    {
        let average = times.iter().sum::<f64>() / times.len() as f64;
        text.push_str(&format!("round-trip min/avg/max = {least:.3}/{average:.3}/{most:.3} ms\n"));
    }
    call.print(text).await?;
    Ok(i32::from(times.is_empty()))
}
