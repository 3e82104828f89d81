#![allow(clippy::unwrap_used)]

use std::{net::SocketAddr, sync::Mutex};

use futures::future::BoxFuture;
use hickory_proto::{op::Query, rr::RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::{super::answer::tests::lab, *};
use crate::{Failure, Protocol};

/// Another DNS server at 10.0.0.53, which knows all names; 10.0.0.54 drops what it gets.
struct Elsewhere;

impl Dialer for Elsewhere {
    fn dial(&self, to: SocketAddr, _: Protocol) -> BoxFuture<'_, Result<DuplexStream, Failure>> {
        Box::pin(async move {
            if to.to_string() != "10.0.0.53:53" {
                return Err(Failure::Dropped);
            }
            let (ours, mut theirs) = duplex(4096);
            tokio::spawn(async move {
                let mut query = vec![0; usize::from(theirs.read_u16().await.unwrap())];
                theirs.read_exact(&mut query).await.unwrap();
                let query = Message::from_vec(&query).unwrap();
                let mut answer = message::begin(&query);
                let name = query.queries[0].name().clone();
                let address = hickory_proto::rr::RData::A(std::net::Ipv4Addr::new(192, 0, 2, 1).into());
                answer.answers.push(hickory_proto::rr::Record::from_rdata(name, 300, address));
                let bytes = answer.to_vec().unwrap();
                theirs.write_u16(u16::try_from(bytes.len()).unwrap()).await.unwrap();
                theirs.write_all(&bytes).await.unwrap();
            });
            Ok(ours)
        })
    }
}

/// What a server with this Corefile says, and what it logs.
async fn ask(corefile: &str, name: &str) -> (String, String) {
    let corefile = Corefile::parse("Corefile", corefile, &|_| Some(String::new())).unwrap();
    let (zone, logged) = (lab(), Mutex::new(String::new()));
    let log = |line: &str| logged.lock().unwrap().push_str(line);
    let asker = Asker {
        corefile: Some(&corefile),
        zone: Some(&zone),
        network: &Elsewhere,
        log: &log,
        from: Some([10, 244, 1, 7].into()),
        protocol: "udp",
        port: 53,
    };
    let mut query = Message::query();
    query.add_query(Query::query(Name::from_ascii(format!("{name}.")).unwrap(), RecordType::A));
    let answer = Message::from_vec(&respond(&asker, &query.to_vec().unwrap()).await.unwrap()).unwrap();
    assert_eq!(answer.metadata.id, query.metadata.id);
    assert_eq!(answer.queries, query.queries);
    let shown = |record: &hickory_proto::rr::Record| {
        let same = record.name == *query.queries[0].name();
        format!("{}{}/{}", if same { "" } else { "?" }, record.data, record.ttl)
    };
    let records: Vec<String> = answer.answers.iter().map(shown).collect();
    let said = match answer.metadata.response_code {
        ResponseCode::NoError => records.join(" "),
        other => message::code(other).to_owned(),
    };
    (said, logged.into_inner().unwrap())
}

#[tokio::test(start_paused = true)]
async fn questions_go_through_the_plugins() {
    const CLUSTER: &str = "kubernetes cluster.local in-addr.arpa {\n ttl 30\n fallthrough\n}\n";
    for (plugins, name, expected) in [
        (CLUSTER, "web.shop.svc.cluster.local", "10.96.0.7/30"),
        (CLUSTER, "example.com", "REFUSED"),
        ("kubernetes cluster.local", "web.shop.svc.cluster.local", "10.96.0.7/5"),
        ("kubernetes cluster.local", "nobody.shop.svc.cluster.local", "NXDOMAIN"),
        ("forward . /etc/resolv.conf", "example.com", "NXDOMAIN"),
        ("forward . 10.0.0.53", "example.com", "192.0.2.1/300"),
        ("forward . 10.0.0.54", "example.com", "SERVFAIL"),
        ("forward . 10.0.0.54\nforward example.com 10.0.0.53", "a.example.com", "192.0.2.1/300"),
        ("forward example.com 10.0.0.53 {\n except b.example.com\n}", "b.example.com", "REFUSED"),
        ("cache 60\nforward . 10.0.0.53", "example.com", "192.0.2.1/300"),
        ("hosts {\n 10.1.1.1 example.com\n fallthrough\n}\nforward . 10.0.0.53", "example.com", "10.1.1.1/3600"),
        ("hosts {\n 10.1.1.1 example.com\n fallthrough\n}\nforward . 10.0.0.53", "example.org", "192.0.2.1/300"),
        ("hosts {\n 10.1.1.1 example.com\n}\nforward . 10.0.0.53", "example.org", "NXDOMAIN"),
        ("rewrite name web.example web.shop.svc.cluster.local\nkubernetes cluster.local", "web.example", "10.96.0.7/5"),
        ("rewrite name suffix .example .org\nforward . 10.0.0.53", "a.example", "192.0.2.1/300"),
    ] {
        assert_eq!(ask(&format!(".:53 {{\n{plugins}\n}}\n"), name).await.0, expected, "{plugins} {name}");
    }
}

#[tokio::test(start_paused = true)]
async fn questions_and_failures_are_logged_where_the_corefile_says() {
    let (_, quiet) = ask(".:53 {\nforward . 10.0.0.54\n}\n", "example.com").await;
    assert_eq!(quiet, "");
    let (_, failed) = ask(".:53 {\nerrors\nforward . 10.0.0.54\n}\n", "example.com").await;
    assert!(failed.starts_with("[ERROR] plugin/errors: 2 example.com. A"), "{failed}");
    let (_, logged) = ask(".:53 {\nlog\nforward . 10.0.0.53\n}\n", "example.com").await;
    assert!(logged.starts_with("[INFO] 10.244.1.7:0 - ") && logged.contains("\"A IN example.com. udp "), "{logged}");
    assert!(logged.contains(" NOERROR "), "{logged}");
}
