//! `nslookup`, `dig`, `getent`.

use std::net::{IpAddr, SocketAddr};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{RData, Record, RecordType},
};
use kubelab_client::clock;

use super::{Call, Ran};
use crate::network::resolver::{Error, Resolver};

/// The port of DNS servers.
const PORT: u16 = 53;

/// What a question was answered with, and the name that it was completed to.
struct Found {
    name: String,
    answers: Vec<Message>,
}

/// `nslookup [-type=TYPE] HOST [SERVER]`. Names with dots are completed as well, as C libraries do; busybox' own stopped to
/// do so in version 1.29.
pub async fn nslookup(call: &Call<'_>) -> Ran {
    let (options, rest): (Vec<&String>, Vec<&String>) = call.arguments.iter().partition(|word| word.starts_with('-'));
    let Some(host) = rest.first() else { return call.fail("missing host name").await };
    let kind = options.iter().find_map(|option| {
        let option = option.trim_start_matches('-');
        option.strip_prefix("type=").or_else(|| option.strip_prefix("query=")).or_else(|| option.strip_prefix("q="))
    });
    let kind = match kind.map(|kind| kind.to_uppercase().parse::<RecordType>()) {
        None => None,
        Some(Ok(kind)) => Some(kind),
        Some(Err(_)) => return call.fail("invalid query type").await,
    };
    let mut resolver = call.resolver();
    if let Some(server) = rest.get(1) {
        match resolver.addresses(server).await {
            Ok(addresses) => resolver.config.servers = addresses,
            Err(_) => return call.fail(format!("bad address '{server}'")).await,
        }
    }
    let Some(server) = resolver.config.servers.first().copied() else {
        return call.fail("can't connect to remote host (127.0.0.1): Connection refused").await;
    };
    let has_bind = call.shell.world.userland.has_bash();
    let at = if has_bind { format!("{server}#{PORT}") } else { format!("{}", SocketAddr::new(server, PORT)) };
    let head = format!("Server:\t\t{server}\nAddress:\t{at}\n\n");
    let found = match (host.parse::<IpAddr>(), kind) {
        (Ok(address), None) => ask(&resolver, &[reverse(address)], &[RecordType::PTR]).await,
        (_, Some(kind)) => ask(&resolver, &resolver.config.candidates(host), &[kind]).await,
        (_, None) => ask(&resolver, &resolver.config.candidates(host), &[RecordType::A, RecordType::AAAA]).await,
    };
    let name = match host.parse() {
        Ok(address) if kind.is_none() => reverse(address),
        _ => (*host).clone(),
    };
    let found = match found {
        Ok(found) => found,
        Err(Error::NoAnswer) => {
            call.print(";; connection timed out; no servers could be reached\n\n").await?;
            return Ok(1);
        }
        Err(Error::NoSuchName) => {
            call.print(format!("{head}** server can't find {name}: NXDOMAIN\n\n")).await?;
            return Ok(1);
        }
    };
    let records: Vec<&Record> = found.answers.iter().flat_map(|answer| &answer.answers).collect();
    if records.is_empty() {
        call.print(format!("{head}*** Can't find {}: No answer\n\n", found.name)).await?;
        return Ok(i32::from(has_bind));
    }
    let mut lines: Vec<String> = Vec::new();
    for record in records {
        let line = shown(record);
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    call.print(format!("{head}{}\n", lines.concat())).await?;
    Ok(0)
}

/// Asks for each of the names in turn, until one exists; for each kind of records that are wanted of it.
async fn ask(resolver: &Resolver<'_>, names: &[String], kinds: &[RecordType]) -> Result<Found, Error> {
    let mut empty = None;
    for name in names {
        let mut answers = Vec::new();
        for kind in kinds {
            let answer = resolver.ask_any(name, *kind).await?;
            if answer.metadata.response_code == ResponseCode::NoError {
                answers.push(answer);
            }
        }
        let found = Found { name: name.clone(), answers };
        if found.answers.iter().any(|answer| !answer.answers.is_empty()) {
            return Ok(found);
        }
        if !found.answers.is_empty() {
            empty.get_or_insert(found);
        }
    }
    empty.ok_or(Error::NoSuchName)
}

/// A record as nslookup shows it.
fn shown(record: &Record) -> String {
    let name = record.name.to_ascii();
    let name = name.trim_end_matches('.');
    match &record.data {
        RData::A(address) => format!("Name:\t{name}\nAddress: {address}\n"),
        RData::AAAA(address) => format!("Name:\t{name}\nAddress: {address}\n"),
        RData::CNAME(target) => format!("{name}\tcanonical name = {}\n", target.0.to_ascii().trim_end_matches('.')),
        RData::PTR(target) => format!("{name}\tname = {}\n", target.0.to_ascii().trim_end_matches('.')),
        RData::SRV(srv) => {
            let target = srv.target.to_ascii();
            format!("{name}\tservice = {} {} {} {}\n", srv.priority, srv.weight, srv.port, target.trim_end_matches('.'))
        }
        RData::TXT(text) => format!("{name}\ttext = {text}\n"),
        other => format!("{name}\t{other}\n"),
    }
}

/// The name under which the names of an address are kept.
fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let digits = format!("{:032x}", u128::from(address));
            let digits: Vec<String> = digits.chars().rev().map(String::from).collect();
            format!("{}.ip6.arpa", digits.join("."))
        }
    }
}

/// `getent hosts|ahosts NAME…`
pub async fn getent(call: &Call<'_>) -> Ran {
    let (Some(database @ ("hosts" | "ahosts" | "ahostsv4")), wanted @ [_, ..]) =
        (call.arguments.first().map(String::as_str), call.arguments.get(1..).unwrap_or_default())
    else {
        return call.fail("only the databases hosts, ahosts and ahostsv4 are here, with a key").await;
    };
    let resolver = call.resolver();
    let mut status = 0;
    for name in wanted {
        let lines = entries(&resolver, name).await;
        if lines.is_empty() {
            // Source: getent(1), "one or more supplied key could not be found".
            status = 2;
        }
        for (address, names) in lines {
            if database == "hosts" {
                call.print(format!("{:<15} {names}\n", address.to_string())).await?;
            } else {
                for (kind, name) in [("STREAM", names.as_str()), ("DGRAM", ""), ("RAW", "")] {
                    call.print(format!("{:<15} {kind:<6} {name}\n", address.to_string())).await?;
                }
            }
        }
    }
    Ok(status)
}

async fn entries(resolver: &Resolver<'_>, wanted: &str) -> Vec<(IpAddr, String)> {
    let known: Vec<_> = resolver.hosts(wanted).map(|(address, names)| (address, names.join(" "))).collect();
    if !known.is_empty() {
        return known;
    }
    let (names, kind) = match wanted.parse() {
        Ok(address) => (vec![reverse(address)], RecordType::PTR),
        Err(_) => (resolver.config.candidates(wanted), RecordType::A),
    };
    let Ok(found) = ask(resolver, &names, &[kind]).await else { return Vec::new() };
    let records = found.answers.iter().flat_map(|answer| &answer.answers);
    let entry = |record: &Record| match &record.data {
        RData::PTR(target) => Some((wanted.parse().ok()?, target.0.to_ascii().trim_end_matches('.').to_owned())),
        data => Some((data.ip_addr()?, record.name.to_ascii().trim_end_matches('.').to_owned())),
    };
    records.filter_map(entry).collect()
}

/// `dig [@SERVER] [-x ADDRESS] NAME [TYPE] [+short] [+search]`
pub async fn dig(call: &Call<'_>) -> Ran {
    let mut resolver = call.resolver();
    let (mut name, mut kind, mut short, mut search) = (None, RecordType::A, false, false);
    let mut words = call.arguments.iter();
    while let Some(word) = words.next() {
        if let Some(server) = word.strip_prefix('@') {
            match resolver.addresses(server).await {
                Ok(addresses) => resolver.config.servers = addresses,
                Err(_) => return call.fail(format!("couldn't get address for '{server}': not found")).await,
            }
        } else if word == "-x" {
            name = words.next().and_then(|address| address.parse().ok()).map(reverse);
            kind = RecordType::PTR;
        } else if word == "-t" {
            kind = words.next().and_then(|kind| kind.to_uppercase().parse().ok()).unwrap_or(kind);
        } else if let Some(option) = word.strip_prefix('+') {
            short |= option == "short";
            search |= option == "search";
        } else if let (true, Ok(given)) = (word.chars().all(|c| c.is_ascii_uppercase()), word.parse()) {
            kind = given;
        } else if let (true, Ok(given)) = (name.is_some(), word.to_uppercase().parse()) {
            kind = given;
        } else if !word.starts_with('-') {
            name = Some(word.trim_end_matches('.').to_owned());
        }
    }
    let Some(name) = name else { return call.fail("a name is missing").await };
    let Some(server) = resolver.config.servers.first().copied() else {
        call.print(";; no servers could be reached\n").await?;
        return Ok(9);
    };
    let began = clock::instant();
    let names = if search { resolver.config.candidates(&name) } else { vec![name.clone()] };
    let mut answer = None;
    for candidate in &names {
        let Ok(found) = resolver.ask_any(candidate, kind).await else { break };
        let is_last = found.metadata.response_code == ResponseCode::NoError;
        answer = Some(found);
        if is_last {
            break;
        }
    }
    let Some(answer) = answer else {
        let at = format!("{server}#{PORT}");
        call.print(format!(";; communications error to {at}: timed out\n;; no servers could be reached\n")).await?;
        return Ok(9);
    };
    if short {
        let data: Vec<String> = answer.answers.iter().map(|record| format!("{}\n", record.data)).collect();
        call.print(data.concat()).await?;
        return Ok(0);
    }
    let time = began.elapsed().as_millis();
    call.print(report(&name, &answer, &format!("{server}#{PORT}({server}) (UDP)"), time)).await?;
    Ok(0)
}

/// An answer as dig shows it.
fn report(name: &str, answer: &Message, server: &str, time: u128) -> String {
    let status = match answer.metadata.response_code {
        ResponseCode::NoError => "NOERROR",
        ResponseCode::NXDomain => "NXDOMAIN",
        ResponseCode::ServFail => "SERVFAIL",
        _ => "OTHER",
    };
    let flag = |is: bool, name: &'static str| if is { name } else { "" };
    let flags = format!("qr{} rd ra", flag(answer.metadata.authoritative, " aa"));
    let mut text = format!(
        "\n; <<>> DiG 9.18 <<>> {name}\n;; global options: +cmd\n;; Got answer:\n;; ->>HEADER<<- opcode: QUERY, status: \
         {status}, id: {}\n;; flags: {flags}; QUERY: {}, ANSWER: {}, AUTHORITY: {}, ADDITIONAL: {}\n",
        answer.metadata.id,
        answer.queries.len(),
        answer.answers.len(),
        answer.authorities.len(),
        answer.additionals.len()
    );
    text.push_str("\n;; QUESTION SECTION:\n");
    for question in &answer.queries {
        text.push_str(&format!(";{}\t\tIN\t{}\n", question.name().to_ascii(), question.query_type()));
    }
    for (title, records) in
        [("ANSWER", &answer.answers), ("AUTHORITY", &answer.authorities), ("ADDITIONAL", &answer.additionals)]
    {
        if !records.is_empty() {
            text.push_str(&format!("\n;; {title} SECTION:\n"));
        }
        for record in records {
            let (name, ttl, kind) = (record.name.to_ascii(), record.ttl, record.record_type());
            text.push_str(&format!("{name}\t{ttl}\tIN\t{kind}\t{}\n", record.data));
        }
    }
    text.push_str(&format!("\n;; Query time: {time} msec\n;; SERVER: {server}\n\n"));
    text
}
