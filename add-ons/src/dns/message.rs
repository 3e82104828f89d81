//! A query's bytes to a response's.

use std::net::IpAddr;

use hickory_proto::{
    op::{Message, MessageType, Metadata, OpCode, ResponseCode},
    rr::{
        Name, RData, Record as Wire, RecordType,
        rdata::{CNAME, PTR, SOA, SRV, TXT},
    },
};

use super::{
    answer::{Answer, Data, Kind, Record, answer},
    name::DOMAIN,
    zone::Zone,
};

/// How long answers may be kept, in seconds. Source: kubeadm's Corefile.
const TTL: u32 = 30;

/// The response to a query by the cluster's names alone; none to what cannot be read. Without a zone the server does not know
/// the cluster yet.
pub fn respond<Z: Zone>(zone: Option<&Z>, query: &[u8]) -> Option<Vec<u8>> {
    let query = Message::from_vec(query).ok()?;
    if query.metadata.message_type != MessageType::Query {
        return None;
    }
    let mut response = begin(&query);
    let (Some(question), OpCode::Query) = (query.queries.first(), query.metadata.op_code) else {
        response.metadata.response_code = ResponseCode::NotImp;
        return response.to_vec().ok();
    };
    let Some(zone) = zone else {
        response.metadata.response_code = ResponseCode::ServFail;
        return response.to_vec().ok();
    };
    let name = question.name().to_lowercase().to_ascii();
    let name = name.trim_end_matches('.');
    let found = answer(zone, name, kind(question.query_type()));
    fill(&mut response, Asked { name: question.name(), found: name }, found, TTL, DOMAIN);
    response.to_vec().ok()
}

/// A response that says nothing yet.
pub fn begin(query: &Message) -> Message {
    let mut response = Message::response(query.metadata.id, query.metadata.op_code);
    response.metadata = Metadata::response_from_request(&query.metadata);
    response.metadata.recursion_available = true;
    response.queries.clone_from(&query.queries);
    response
}

/// What another response says.
pub fn copy(from: &Message, to: &mut Message) {
    to.metadata.response_code = from.metadata.response_code;
    to.metadata.authoritative = from.metadata.authoritative;
    to.answers.clone_from(&from.answers);
    to.authorities.clone_from(&from.authorities);
    to.additionals.clone_from(&from.additionals);
}

/// A code as CoreDNS logs it.
pub fn code(code: ResponseCode) -> &'static str {
    match code {
        ResponseCode::NoError => "NOERROR",
        ResponseCode::FormErr => "FORMERR",
        ResponseCode::ServFail => "SERVFAIL",
        ResponseCode::NXDomain => "NXDOMAIN",
        ResponseCode::NotImp => "NOTIMP",
        ResponseCode::Refused => "REFUSED",
        other => other.to_str(),
    }
}

/// The name that was asked for, whatever its case, and the one that was looked up in its place.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// As the client has it.
    pub name: &'a Name,
    /// In lower case and without the last dot.
    pub found: &'a str,
}

/// Puts an answer into a response. `ttl`: how long it may be kept, in seconds; `domain`: the cluster's.
pub fn fill(response: &mut Message, asked: Asked<'_>, found: Answer, ttl: u32, domain: &str) {
    response.metadata.authoritative = found.is_ours;
    if !found.exists {
        response.metadata.response_code = ResponseCode::NXDomain;
    }
    if found.records.is_empty() && found.is_ours {
        response.authorities.extend(authority(domain, ttl));
    }
    let wire = |record: &Record| {
        let name = if record.name == asked.found { asked.name.clone() } else { name(&record.name)? };
        Some(Wire::from_rdata(name, ttl, data(&record.data)?))
    };
    response.answers.extend(found.records.iter().filter_map(wire));
    response.additionals.extend(found.additional.iter().filter_map(wire));
}

/// What a record type asks for.
pub fn kind(kind: RecordType) -> Kind {
    match kind {
        RecordType::A => Kind::A,
        RecordType::AAAA => Kind::Aaaa,
        RecordType::SRV => Kind::Srv,
        RecordType::PTR => Kind::Ptr,
        RecordType::CNAME => Kind::Cname,
        RecordType::TXT => Kind::Txt,
        RecordType::ANY => Kind::Any,
        _ => Kind::Other,
    }
}

/// A name on the wire.
pub fn name(text: &str) -> Option<Name> {
    // Ports' names begin with an underscore, which strict names may not.
    Name::from_str_relaxed(format!("{text}.")).ok()
}

fn data(data: &Data) -> Option<RData> {
    Some(match data {
        Data::Address(IpAddr::V4(address)) => RData::A((*address).into()),
        Data::Address(IpAddr::V6(address)) => RData::AAAA((*address).into()),
        Data::Srv { weight, port, target } => RData::SRV(SRV::new(0, *weight, *port, name(target)?)),
        Data::Ptr(target) => RData::PTR(PTR(name(target)?)),
        Data::Cname(target) => RData::CNAME(CNAME(name(target)?)),
        Data::Txt(text) => RData::TXT(TXT::new(vec![text.clone()])),
    })
}

/// Who answers for the domain, in answers that say that there is nothing.
fn authority(domain: &str, ttl: u32) -> Option<Wire> {
    let (server, person) = (name(&format!("ns.dns.{domain}"))?, name(&format!("hostmaster.{domain}"))?);
    // Source: CoreDNS' values; the serial is any.
    let soa = SOA::new(server, person, 1, 7200, 1800, 86400, ttl);
    Some(Wire::from_rdata(name(domain)?, ttl, RData::SOA(soa)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use hickory_proto::op::Query;
    use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
    use serde_json::json;

    use super::*;

    struct One;

    impl Zone for One {
        fn service(&self, namespace: &str, name: &str) -> Option<Arc<Service>> {
            let service =
                json!({"metadata": {"name": name, "namespace": namespace}, "spec": {"clusterIP": "10.96.0.7"}});
            (name == "web").then(|| Arc::new(serde_json::from_value(service).unwrap()))
        }
        fn slices(&self, _: &str, _: &str) -> Vec<Arc<EndpointSlice>> {
            Vec::new()
        }
        fn has_namespace(&self, _: &str) -> bool {
            true
        }
        fn services_at(&self, _: IpAddr) -> Vec<Arc<Service>> {
            Vec::new()
        }
        fn slices_with(&self, _: IpAddr) -> Vec<Arc<EndpointSlice>> {
            Vec::new()
        }
    }

    fn ask(zone: Option<&One>, name: &str) -> Message {
        let mut query = Message::query();
        query.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
        let response = respond(zone, &query.to_vec().unwrap()).unwrap();
        let response = Message::from_vec(&response).unwrap();
        assert_eq!(response.metadata.id, query.metadata.id);
        response
    }

    #[test]
    fn queries_are_answered() {
        let found = ask(Some(&One), "Web.Shop.svc.cluster.local.");
        assert_eq!(found.metadata.response_code, ResponseCode::NoError);
        assert_eq!(found.answers[0].data, RData::A(std::net::Ipv4Addr::new(10, 96, 0, 7).into()));
        assert_eq!(found.answers[0].name.to_ascii(), "Web.Shop.svc.cluster.local.");

        let missing = ask(Some(&One), "nobody.shop.svc.cluster.local.");
        assert_eq!((missing.metadata.response_code, missing.authorities.len()), (ResponseCode::NXDomain, 1));
        assert_eq!(ask(None, "web.shop.svc.cluster.local.").metadata.response_code, ResponseCode::ServFail);
        assert_eq!(respond(Some(&One), b"nonsense"), None);
    }
}
