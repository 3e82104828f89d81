//! A query's bytes to a response's.

use std::net::IpAddr;

use hickory_proto::{
    op::{Message, MessageType, Metadata, OpCode, ResponseCode},
    rr::{
        Name, RData, Record as Wire, RecordType,
        rdata::{CNAME, PTR, SOA, SRV, TXT},
    },
};
use rand::seq::SliceRandom;

use super::{
    answer::{Answer, Data, Kind, Record, answer},
    name::DOMAIN,
    zone::Zone,
};

/// How long answers may be kept, in seconds. Source: kubeadm's Corefile.
const TTL: u32 = 30;

/// The response to a query; none to what cannot be read. Without a zone the server does not know the cluster yet.
pub fn respond<Z: Zone>(zone: Option<&Z>, query: &[u8]) -> Option<Vec<u8>> {
    let query = Message::from_vec(query).ok()?;
    if query.metadata.message_type != MessageType::Query {
        return None;
    }
    let mut response = Message::response(query.metadata.id, query.metadata.op_code);
    response.metadata = Metadata::response_from_request(&query.metadata);
    response.metadata.recursion_available = true;
    response.queries.clone_from(&query.queries);
    let (Some(question), OpCode::Query) = (query.queries.first(), query.metadata.op_code) else {
        response.metadata.response_code = ResponseCode::NotImp;
        return response.to_vec().ok();
    };
    let Some(zone) = zone else {
        response.metadata.response_code = ResponseCode::ServFail;
        return response.to_vec().ok();
    };
    let name = question.name().to_lowercase().to_ascii();
    let found = answer(zone, name.trim_end_matches('.'), kind(question.query_type()));
    response.metadata.authoritative = found.is_ours;
    fill(&mut response, question.name(), found);
    response.to_vec().ok()
}

fn fill(response: &mut Message, asked: &Name, found: Answer) {
    if !found.exists {
        response.metadata.response_code = ResponseCode::NXDomain;
    }
    if found.records.is_empty() && found.is_ours {
        response.authorities.extend(authority());
    }
    let mut records = found.records;
    // As CoreDNS' `loadbalance` does: clients take the first. Aliases stay before what they lead to.
    if records.iter().all(|record| matches!(record.data, Data::Address(_))) {
        records.shuffle(&mut rand::rng());
    }
    // The name is given back as it was asked for, whatever its case.
    let wire = |record: &Record| {
        let same = asked.to_ascii().trim_end_matches('.').eq_ignore_ascii_case(&record.name);
        let name = if same { asked.clone() } else { name(&record.name)? };
        Some(Wire::from_rdata(name, TTL, data(&record.data)?))
    };
    response.answers.extend(records.iter().filter_map(wire));
    response.additionals.extend(found.additional.iter().filter_map(wire));
}

fn kind(kind: RecordType) -> Kind {
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

fn name(text: &str) -> Option<Name> {
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
fn authority() -> Option<Wire> {
    let (server, person) = (name(&format!("ns.dns.{DOMAIN}"))?, name(&format!("hostmaster.{DOMAIN}"))?);
    // Source: CoreDNS' values; the serial is any.
    let soa = SOA::new(server, person, 1, 7200, 1800, 86400, TTL);
    Some(Wire::from_rdata(name(DOMAIN)?, TTL, RData::SOA(soa)))
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
