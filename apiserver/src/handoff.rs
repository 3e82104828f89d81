//! Connections that the lab's front door has accepted and hands over, so that their bytes do not pass through it: file
//! descriptors over a Unix socket (`SCM_RIGHTS`). The door keeps a copy of each, with which it can end connections to an
//! apiserver that hangs; so it is told when one has ended by itself.
//!
//! ```text
//! door ── number and descriptor ──────────► apiserver
//! door ◄──── number, once it has ended ──── apiserver
//! ```

use std::{
    fs,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    cmsg_space,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
        recvmsg, sendmsg,
    },
};
use tokio::{
    io::Interest,
    net::{TcpStream, UnixListener, UnixStream},
};

/// Where doors come to an apiserver.
pub struct Listener(UnixListener);

impl Listener {
    /// Listens at a path. A socket that a dead process left there is replaced.
    pub fn bind(path: &Path) -> io::Result<Self> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        Ok(Self(UnixListener::bind(path)?))
    }

    /// The next door that comes.
    pub async fn accept(&self) -> io::Result<Line> {
        Ok(Line(self.0.accept().await?.0))
    }
}

/// What joins a door and an apiserver; each holds one end. Every message is a number, alone or with a descriptor; the
/// kernel never joins what came with one to what comes after it.
pub struct Line(UnixStream);

impl Line {
    /// The door's end, to the apiserver that listens at a path.
    pub async fn connect(path: &Path) -> io::Result<Self> {
        Ok(Self(UnixStream::connect(path).await?))
    }

    /// Gives a connection to the apiserver, under a number.
    pub async fn give(&self, number: u64, connection: BorrowedFd<'_>) -> io::Result<()> {
        self.send(number, &[connection]).await
    }

    /// The next connection that the door gives; `None` once the door is gone.
    pub async fn take(&self) -> io::Result<Option<(u64, TcpStream)>> {
        let Some((number, descriptor)) = self.receive().await? else { return Ok(None) };
        let descriptor = descriptor.ok_or_else(|| io::Error::other("a number came without a connection"))?;
        let stream = std::net::TcpStream::from(descriptor);
        stream.set_nonblocking(true)?;
        Ok(Some((number, TcpStream::from_std(stream)?)))
    }

    /// Tells the door that a connection has ended.
    pub async fn end(&self, number: u64) -> io::Result<()> {
        self.send(number, &[]).await
    }

    /// The next connection that has ended; `None` once the apiserver is gone.
    pub async fn ended(&self) -> io::Result<Option<u64>> {
        Ok(self.receive().await?.map(|(number, _)| number))
    }

    async fn send(&self, number: u64, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let number = number.to_le_bytes();
        let send = || {
            let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !descriptors.is_empty() {
                control.push(SendAncillaryMessage::ScmRights(descriptors));
            }
            match sendmsg(&self.0, &[IoSlice::new(&number)], &mut control, SendFlags::NOSIGNAL)? {
                8 => Ok(()),
                sent => Err(io::Error::other(format!("{sent} of a message's 8 bytes were sent"))),
            }
        };
        self.0.async_io(Interest::WRITABLE, send).await
    }

    async fn receive(&self) -> io::Result<Option<(u64, Option<OwnedFd>)>> {
        let receive = || {
            let mut number = [0; 8];
            let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut parts = [IoSliceMut::new(&mut number)];
            let received = recvmsg(&self.0, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
            let descriptors = control.drain().filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
                _ => None,
            });
            let descriptor = descriptors.flatten().next();
            match received.bytes {
                8 => Ok(Some((u64::from_le_bytes(number), descriptor))),
                0 => Ok(None),
                bytes => Err(io::Error::other(format!("{bytes} of a message's 8 bytes came"))),
            }
        };
        self.0.async_io(Interest::READABLE, receive).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::fd::AsFd;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    #[tokio::test]
    async fn a_connection_goes_from_hand_to_hand() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("door");
        drop(Listener::bind(&path).unwrap());
        let listener = Listener::bind(&path).unwrap();
        let doors_end = Line::connect(&path).await.unwrap();
        let servers_end = listener.accept().await.unwrap();

        let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(port.local_addr().unwrap()).await.unwrap();
        let accepted = port.accept().await.unwrap().0.into_std().unwrap();
        doors_end.give(7, accepted.as_fd()).await.unwrap();
        let (number, mut given) = servers_end.take().await.unwrap().unwrap();
        assert_eq!((number, given.peer_addr().unwrap()), (7, client.local_addr().unwrap()));
        given.write_all(b"hello").await.unwrap();
        drop(given);
        servers_end.end(7).await.unwrap();
        assert_eq!(doors_end.ended().await.unwrap(), Some(7));
        drop(accepted);
        let mut heard = String::new();
        client.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "hello", "and it ends once nobody holds it");

        drop(doors_end);
        assert!(servers_end.take().await.unwrap().is_none(), "the door is gone");
    }
}
