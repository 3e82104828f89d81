//! `ping`.

use std::{net::SocketAddr, time::Duration};

use kubelab_client::clock;

use super::{Call, Ran, bad_address, seconds};
use crate::network::{Failure, Protocol, connect};

/// A port that nobody uses: who refuses it is there.
const ECHO: u16 = 7;

/// How long a ping waits for its answer.
const PING_TIMEOUT: Duration = Duration::from_secs(1);

/// `ping [-c COUNT] [-W SEC] [-i SEC] [-q] HOST`. Without a count it goes on until it is interrupted.
pub async fn run(call: &Call<'_>) -> Ran {
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
