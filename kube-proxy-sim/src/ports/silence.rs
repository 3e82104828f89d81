//! A port that nobody answers at: clients wait until they give up, as they do when a firewall drops their packets.

use std::{io, net::SocketAddr};

use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// A full queue: the listener, and the connection that fills it.
pub struct Silence {
    _listener: TcpListener,
    _filler: TcpStream,
}

/// Opens such a port. The kernel keeps silent to whoever comes to a listener whose queue is full.
pub async fn open(address: SocketAddr) -> io::Result<Silence> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(0)?;
    let filler = TcpStream::connect(address).await?;
    Ok(Silence { _listener: listener, _filler: filler })
}

/// Keeps it until it is aborted.
pub async fn hold(silence: Silence) {
    std::future::pending::<()>().await;
    drop(silence);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn whoever_comes_waits() {
        let address = SocketAddr::from(([127, 0, 77, 200], 30999));
        let silence = open(address).await.unwrap();
        let waited = tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address)).await;
        assert!(waited.is_err(), "no answer at all: {waited:?}");
        drop(silence);
        assert!(TcpStream::connect(address).await.is_err(), "refused");
    }
}
