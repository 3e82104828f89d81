//! A question's way through the plugins of its server.

use std::net::IpAddr;

use hickory_proto::{
    op::{Message, MessageType, OpCode, ResponseCode},
    rr::Name,
};
use kubelab_client::clock;
use rand::seq::SliceRandom;

use super::{
    answer::Answer,
    corefile::{Corefile, Server, zone_of},
    message::{self, kind},
    plugins::{Plugins, forward, rewrite::rewritten},
    zone::Zone,
};
use crate::Dialer;

/// Who asks, and what there is to answer with.
pub struct Asker<'a> {
    /// What the Corefile says; none, if it cannot be read.
    pub corefile: Option<&'a Corefile>,
    /// The cluster; none, as long as it is not known.
    pub zone: Option<&'a (dyn Zone + Sync)>,
    /// The way to other servers.
    pub network: &'a dyn Dialer,
    /// The container's log.
    pub log: &'a (dyn Fn(&str) + Send + Sync),
    /// Who asks.
    pub from: Option<IpAddr>,
    /// Over `tcp` or `udp`.
    pub protocol: &'static str,
    /// At this port.
    pub port: u16,
}

/// Answers a query's bytes; none to what cannot be read.
pub async fn respond(asker: &Asker<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
    let query = Message::from_vec(bytes).ok().filter(|query| query.metadata.message_type == MessageType::Query)?;
    let mut response = message::begin(&query);
    let (Some(question), OpCode::Query) = (query.queries.first(), query.metadata.op_code) else {
        response.metadata.response_code = ResponseCode::NotImp;
        return response.to_vec().ok();
    };
    let Some(corefile) = asker.corefile else {
        response.metadata.response_code = ResponseCode::ServFail;
        return response.to_vec().ok();
    };
    let asked = zone_of(&question.name().to_ascii());
    let Some(server) = corefile.server(&asked, asker.port) else {
        response.metadata.response_code = ResponseCode::Refused;
        return response.to_vec().ok();
    };
    let begun = clock::instant();
    let (plugins, kind) = (&server.plugins, question.query_type());
    match plugins.cache.as_ref().and_then(|cache| cache.get(&asked, kind, begun)) {
        Some(kept) => message::copy(&kept, &mut response),
        None => {
            asker.ask(server, &query, &asked, &mut response).await;
            if let Some(cache) = &plugins.cache {
                cache.put(&asked, kind, &response, begun);
            }
        }
    }
    if plugins.loadbalance {
        shuffle(&mut response);
    }
    let bytes = response.to_vec().ok()?;
    if plugins.log {
        let took = clock::instant().duration_since(begun).as_secs_f64();
        asker.log(&query, &response, bytes.len(), took);
    }
    Some(bytes)
}

impl Asker<'_> {
    /// Asks the plugins that answer, under the name that rules make of the one that was asked for.
    async fn ask(&self, server: &Server, query: &Message, asked: &str, response: &mut Message) {
        let Some(question) = query.queries.first() else { return };
        let plugins = &server.plugins;
        let name = rewritten(&plugins.rewrites, asked);
        let kind = kind(question.query_type());
        let hosts = plugins.hosts.as_ref();
        let local = hosts.and_then(|hosts| Some((hosts.answer(&name, kind)?, hosts.ttl)));
        let local = local.or_else(|| {
            let kubernetes = plugins.kubernetes.as_ref()?;
            Some((kubernetes.answer(self.zone?, &name, kind)?, kubernetes.ttl))
        });
        if let Some((answer, ttl)) = local {
            self.fill(response, plugins, question.name(), &name, answer, ttl);
        } else if plugins.kubernetes.is_some() && self.zone.is_none() {
            response.metadata.response_code = ResponseCode::ServFail;
        } else {
            self.forward(plugins, query, &name, response).await;
        }
        if response.metadata.response_code == ResponseCode::ServFail && plugins.errors {
            (self.log)(&format!("[ERROR] plugin/errors: 2 {}. {}: no answer", name, question.query_type()));
        }
    }

    fn fill(&self, response: &mut Message, plugins: &Plugins, asked: &Name, name: &str, answer: Answer, ttl: u32) {
        let domain = plugins.kubernetes.as_ref().map_or(super::name::DOMAIN, |kubernetes| kubernetes.domain());
        message::fill(response, message::Asked { name: asked, found: name }, answer, ttl, domain);
    }

    async fn forward(&self, plugins: &Plugins, query: &Message, name: &str, response: &mut Message) {
        let Some(forward) = plugins.forwards.iter().find(|forward| forward.takes(name)) else {
            // Source: CoreDNS refuses what no plugin answers.
            response.metadata.response_code = ResponseCode::Refused;
            return;
        };
        let Some(question) = query.queries.first() else { return };
        let mut onward = query.clone();
        onward.metadata.id = rand::random();
        if let (Some(own), Some(name)) = (onward.queries.first_mut(), message::name(name)) {
            own.set_name(name);
        }
        match forward.ask(self.network, &onward).await {
            Ok(answer) => {
                message::copy(&answer, response);
                let found = message::name(name);
                // Under the name that was asked for.
                for record in response.answers.iter_mut().filter(|record| Some(&record.name) == found.as_ref()) {
                    record.name = question.name().clone();
                }
            }
            // There is nothing outside of a lab, so no name there exists.
            Err(forward::Error::Nobody) => response.metadata.response_code = ResponseCode::NXDomain,
            Err(forward::Error::Busy) => response.metadata.response_code = ResponseCode::Refused,
            Err(forward::Error::Silence) => response.metadata.response_code = ResponseCode::ServFail,
        }
    }

    /// Source: the common log format of CoreDNS' `log`.
    fn log(&self, query: &Message, response: &Message, length: usize, took: f64) {
        let Some(question) = query.queries.first() else { return };
        let from = self.from.map_or_else(|| "-".to_owned(), |from| from.to_string());
        let (kind, class, name) = (question.query_type(), question.query_class(), question.name());
        let (id, protocol) = (query.metadata.id, self.protocol);
        let (code, flags) = (message::code(response.metadata.response_code), response.metadata.flags());
        (self.log)(&format!(
            "[INFO] {from}:0 - {id} \"{kind} {class} {name} {protocol} {} false 512\" {code} {flags} {length} {took:.9}s",
            query.to_vec().map_or(0, |bytes| bytes.len())
        ));
    }
}

/// Clients take the first address. Aliases stay before what they lead to.
fn shuffle(response: &mut Message) {
    let first = response.answers.iter().position(|record| record.data.ip_addr().is_some()).unwrap_or(0);
    if response.answers[first..].iter().all(|record| record.data.ip_addr().is_some()) {
        response.answers[first..].shuffle(&mut rand::rng());
    }
}

#[cfg(test)]
mod tests;
