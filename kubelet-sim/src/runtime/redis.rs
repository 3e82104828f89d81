//! What a container that speaks Redis' protocol answers: enough for `redis-cli ping` and for probes. It keeps no data.
//! Source of the protocol: the RESP specification of redis.io.

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream};

/// The longest request line or argument.
const MAX_ARGUMENT: usize = 64 << 10;

/// The most arguments of a request.
const MAX_ARGUMENTS: usize = 64;

/// Serves one connection until it ends.
pub async fn serve(connection: DuplexStream) {
    let (reader, mut writer) = tokio::io::split(connection);
    let mut reader = BufReader::new(reader);
    while let Some(request) = read(&mut reader).await {
        let (reply, ends) = answer(&request);
        if writer.write_all(reply.as_bytes()).await.is_err() || ends {
            return;
        }
    }
}

/// A request: an array of bulk strings, or words on a line. `None` at the end, or for what is no request.
async fn read(reader: &mut (impl AsyncBufReadExt + Unpin)) -> Option<Vec<String>> {
    let first = line(reader).await?;
    let Some(count) = first.strip_prefix('*') else {
        return Some(first.split_whitespace().map(str::to_owned).collect());
    };
    let count = count.parse().ok().filter(|count| *count <= MAX_ARGUMENTS)?;
    let mut request = Vec::new();
    for _ in 0..count {
        let length = line(reader).await?.strip_prefix('$')?.parse().ok().filter(|length| *length <= MAX_ARGUMENT)?;
        let mut bytes = vec![0; length + 2];
        reader.read_exact(&mut bytes).await.ok()?;
        bytes.truncate(length);
        request.push(String::from_utf8_lossy(&bytes).into_owned());
    }
    Some(request)
}

async fn line(reader: &mut (impl AsyncBufReadExt + Unpin)) -> Option<String> {
    let mut text = String::new();
    let read = reader.take(MAX_ARGUMENT as u64).read_line(&mut text).await.ok()?;
    (read > 0).then(|| text.trim_end().to_owned())
}

/// What is said to a request, and whether the connection ends with it.
fn answer(request: &[String]) -> (String, bool) {
    let Some((command, arguments)) = request.split_first() else { return (String::new(), false) };
    let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
    match (command.to_ascii_uppercase().as_str(), arguments) {
        ("PING", []) => ("+PONG\r\n".to_owned(), false),
        ("PING" | "ECHO", [text, ..]) => (bulk(text), false),
        ("SELECT" | "SET" | "AUTH" | "CLIENT", _) => ("+OK\r\n".to_owned(), false),
        ("GET", _) => ("$-1\r\n".to_owned(), false),
        ("COMMAND", _) => ("*0\r\n".to_owned(), false),
        ("INFO", _) => (bulk("# Server\r\nredis_version:7.4.0\r\n# Replication\r\nrole:master\r\n"), false),
        ("QUIT", _) => ("+OK\r\n".to_owned(), true),
        _ => (format!("-ERR unknown command '{command}'\r\n"), false),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_ping_is_answered_however_it_is_written() {
        let (mut client, server) = tokio::io::duplex(1024);
        let serving = tokio::spawn(serve(server));
        client
            .write_all(b"PING\r\n*1\r\n$4\r\nping\r\n*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\nNOPE\r\nQUIT\r\n")
            .await
            .unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "+PONG\r\n+PONG\r\n$2\r\nhi\r\n-ERR unknown command 'NOPE'\r\n+OK\r\n");
        serving.await.unwrap();
    }
}
