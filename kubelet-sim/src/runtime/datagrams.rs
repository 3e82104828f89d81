//! What a container that serves datagrams answers, as `agnhost netexec` does. Source: `test/images/agnhost/netexec` of
//! Kubernetes.

use std::net::IpAddr;

use kubelab_wire::datagram;
use tokio::io::DuplexStream;

/// Who answers.
pub struct Server {
    /// Its pod's host name.
    pub name: String,
    /// Who asks, as far as that is known.
    pub from: Option<IpAddr>,
}

impl Server {
    /// Answers a client's datagrams, each of which comes after its length, until it leaves.
    pub async fn serve(self, mut connection: DuplexStream) {
        while let Ok(heard) = datagram::read(&mut connection).await {
            let Some(answer) = self.answer(&String::from_utf8_lossy(&heard)) else { continue };
            if datagram::write(&mut connection, answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    /// Nothing to what it does not know.
    fn answer(&self, datagram: &str) -> Option<String> {
        let words = datagram.trim_end_matches(['\n', '\0']);
        match words.split_once(' ').unwrap_or((words, "")) {
            (command, said) if command.eq_ignore_ascii_case("echo") => Some(said.to_owned()),
            ("hostname" | "hostName", "") => Some(self.name.clone()),
            ("clientip", "") => Some(self.from.map(|from| from.to_string()).unwrap_or_default()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn each_datagram_has_an_answer() {
        let (mut ours, theirs) = tokio::io::duplex(1024);
        let server = Server { name: "web-0".to_owned(), from: Some([10, 244, 1, 7].into()) };
        tokio::spawn(server.serve(theirs));
        for (said, expected) in
            [("hostname\n", "web-0"), ("echo a b", "a b"), ("nonsense", ""), ("clientip", "10.244.1.7")]
        {
            ours.write_all(&[&u16::try_from(said.len()).unwrap().to_be_bytes()[..], said.as_bytes()].concat())
                .await
                .unwrap();
            if expected.is_empty() {
                continue;
            }
            let mut heard = vec![0; usize::from(ours.read_u16().await.unwrap())];
            ours.read_exact(&mut heard).await.unwrap();
            assert_eq!(String::from_utf8_lossy(&heard), expected, "{said:?}");
        }
    }
}
