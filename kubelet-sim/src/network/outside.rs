//! A little of the world outside the cluster, since a lab has no internet: `example.com` and its kin, which are reserved
//! for documentation (RFC 2606), at an address that is, too (RFC 5737).

use std::net::{IpAddr, Ipv4Addr};

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

/// Where all of it is.
pub const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 80));

/// The port of its web server.
pub const PORT: u16 = 80;

const PAGE: &str = "<!doctype html>\n<html>\n<head>\n<title>Example Domain</title>\n</head>\n<body>\n\
                    <h1>Example Domain</h1>\n<p>This domain is for use in documentation examples without needing \
                    permission.</p>\n</body>\n</html>\n";

/// The most of a request that is read.
const MAX_REQUEST: usize = 16 << 10;

/// The address of a name outside, if it is known.
pub fn address(name: &str) -> Option<IpAddr> {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let name = name.strip_prefix("www.").unwrap_or(&name);
    matches!(name, "example.com" | "example.net" | "example.org").then_some(ADDRESS)
}

/// A connection to the web server.
pub fn connect() -> DuplexStream {
    let (ours, theirs) = duplex(MAX_REQUEST);
    tokio::spawn(serve(theirs));
    ours
}

async fn serve(mut stream: DuplexStream) {
    let mut request = Vec::new();
    while !request.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        match stream.read_buf(&mut request).await {
            Ok(1..) if request.len() <= MAX_REQUEST => {}
            _ => return,
        }
    }
    let length = PAGE.len();
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all((head + PAGE).as_bytes()).await.ok();
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn the_example_of_all_examples_is_there() {
        for (name, is_known) in
            [("example.com", true), ("WWW.Example.org.", true), ("db.example.com", false), ("x", false)]
        {
            assert_eq!(address(name).is_some(), is_known, "{name}");
        }
        let mut stream = connect();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with(PAGE), "{answer}");
    }
}
