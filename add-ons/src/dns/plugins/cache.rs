//! `cache`: answers that are kept, for as long as their records allow and no longer than the Corefile says. Source: the
//! documentation of CoreDNS' `cache`.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::RecordType,
};
use kubelab_client::clock::Instant;

use super::super::corefile::{Directive, Line, Wrong, is_in, zone_of};

/// The longest time for what there is, and for what there is not, in seconds. Source: CoreDNS.
const SUCCESS: u32 = 3600;
const DENIAL: u32 = 1800;
/// The shortest time, in seconds. Source: CoreDNS.
const MINIMUM: u32 = 5;
/// Answers that are kept at a time. Source: CoreDNS.
const CAPACITY: usize = 9984;

/// Properties that are read and change nothing here.
const IDLE: [&str; 4] = ["prefetch", "serve_stale", "servfail", "keepttl"];

/// What is kept of answers of one kind.
#[derive(Clone, Debug)]
struct Kept {
    longest: u32,
    shortest: u32,
    capacity: usize,
    /// Names of these zones are not kept.
    disabled: Vec<String>,
}

/// Answers that are kept.
#[derive(Debug)]
pub struct Cache {
    zones: Vec<String>,
    success: Kept,
    denial: Kept,
    answers: Mutex<HashMap<(String, RecordType), Entry>>,
}

#[derive(Clone, Debug)]
struct Entry {
    answer: Message,
    since: Instant,
    until: Instant,
}

impl Cache {
    /// `cache [TTL] [ZONES…] { success CAPACITY [TTL] [MINTTL]; denial …; disable success|denial [ZONES…]; … }`
    pub fn of(line: &Directive) -> Result<Self, Wrong> {
        let kept = |longest| Kept { longest, shortest: MINIMUM, capacity: CAPACITY, disabled: Vec::new() };
        let (mut success, mut denial) = (kept(SUCCESS), kept(DENIAL));
        let mut arguments = line.arguments();
        if let Some(first) = arguments.first() {
            match first.parse::<u32>() {
                Ok(ttl) if ttl > 0 => {
                    (success.longest, denial.longest) = (ttl, ttl);
                    arguments = &arguments[1..];
                }
                // Zones have dots, or are the root.
                _ if first.contains('.') => {}
                _ => return Err((line.line, format!("plugin/cache: '{first}' is neither a TTL nor a zone"))),
            }
        }
        for line in &line.block {
            match line.split() {
                ("success", _) => numbers(line, &mut success)?,
                ("denial", _) => numbers(line, &mut denial)?,
                ("disable", [kind, zones @ ..]) if kind == "success" || kind == "denial" => {
                    let kept = if kind == "success" { &mut success } else { &mut denial };
                    kept.disabled = if zones.is_empty() {
                        vec![String::new()]
                    } else {
                        zones.iter().map(|zone| zone_of(zone)).collect()
                    };
                }
                (name, _) if IDLE.contains(&name) => {}
                (name, _) => return Err((line.line, format!("plugin/cache: unknown property '{name}'"))),
            }
        }
        let zones: Vec<String> = arguments.iter().map(|zone| zone_of(zone)).collect();
        let zones = if zones.is_empty() { vec![String::new()] } else { zones };
        Ok(Self { zones, success, denial, answers: Mutex::default() })
    }

    /// The answer that is kept for a question. Its records say how long they may be kept still.
    pub fn get(&self, name: &str, kind: RecordType, now: Instant) -> Option<Message> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = answers.get(&(name.to_owned(), kind)).filter(|entry| now < entry.until)?;
        let mut answer = entry.answer.clone();
        let age = u32::try_from(now.duration_since(entry.since).as_secs()).unwrap_or(u32::MAX);
        let records = answer.answers.iter_mut().chain(&mut answer.authorities).chain(&mut answer.additionals);
        records.for_each(|record| record.ttl = record.ttl.saturating_sub(age));
        Some(answer)
    }

    /// Keeps an answer, if such answers are kept.
    pub fn put(&self, name: &str, kind: RecordType, answer: &Message, now: Instant) {
        let kept = match answer.metadata.response_code {
            ResponseCode::NoError if !answer.answers.is_empty() => &self.success,
            ResponseCode::NoError | ResponseCode::NXDomain => &self.denial,
            _ => return,
        };
        let disabled = kept.disabled.iter().any(|zone| is_in(name, zone));
        if disabled || !self.zones.iter().any(|zone| is_in(name, zone)) {
            return;
        }
        let own = answer.answers.iter().chain(&answer.authorities).map(|record| record.ttl).min();
        let ttl = own.unwrap_or(kept.longest).clamp(kept.shortest.min(kept.longest), kept.longest);
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= kept.capacity {
            answers.retain(|_, entry| now < entry.until);
        }
        if answers.len() >= kept.capacity {
            answers.clear();
        }
        let mut answer = answer.clone();
        let records = answer.answers.iter_mut().chain(&mut answer.authorities).chain(&mut answer.additionals);
        records.for_each(|record| record.ttl = record.ttl.min(ttl));
        let until = now + Duration::from_secs(ttl.into());
        answers.insert((name.to_owned(), kind), Entry { answer, since: now, until });
    }
}

/// `success CAPACITY [TTL] [MINTTL]`
fn numbers(line: &Line, kept: &mut Kept) -> Result<(), Wrong> {
    let wrong = |text: &String| (line.line, format!("plugin/cache: '{text}' is no number"));
    let mut numbers = Vec::new();
    for text in line.split().1 {
        numbers.push(text.parse::<u32>().map_err(|_| wrong(text))?);
    }
    if let Some(capacity) = numbers.first() {
        kept.capacity = usize::try_from(*capacity).unwrap_or(CAPACITY).clamp(1, CAPACITY);
    }
    kept.longest = numbers.get(1).copied().unwrap_or(kept.longest);
    kept.shortest = numbers.get(2).copied().unwrap_or(kept.shortest);
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use hickory_proto::{
        op::OpCode,
        rr::{Name, RData, Record},
    };
    use kubelab_client::clock;

    use super::*;

    fn answer(ttl: Option<u32>) -> Message {
        let mut answer = Message::response(1, OpCode::Query);
        let address = RData::A(std::net::Ipv4Addr::new(10, 0, 0, 1).into());
        answer.answers.extend(ttl.map(|ttl| Record::from_rdata(Name::root(), ttl, address)));
        if ttl.is_none() {
            answer.metadata.response_code = ResponseCode::NXDomain;
        }
        answer
    }

    #[test]
    fn answers_are_kept_for_their_time() {
        let line = |words: &str| Line { words: words.split(' ').map(str::to_owned).collect(), line: 2 };
        let directive = Directive {
            words: vec!["cache".into(), "30".into()],
            block: vec![line("disable success cluster.local"), line("denial 100 10 1")],
            line: 1,
        };
        let cache = Cache::of(&directive).unwrap();
        let now = clock::instant();
        for (name, ttl, after, expected) in [
            ("a.org", Some(300), 0, Some(30)),
            ("a.org", Some(300), 20, Some(10)),
            ("a.org", Some(300), 31, None),
            ("b.org", Some(20), 5, Some(15)),
            ("c.org", Some(0), 4, Some(0)),
            ("web.cluster.local", Some(300), 0, None),
        ] {
            cache.put(name, RecordType::A, &answer(ttl), now);
            let kept = cache.get(name, RecordType::A, now + Duration::from_secs(after));
            assert_eq!(kept.map(|kept| kept.answers[0].ttl), expected, "{name} {ttl:?} after {after} s");
        }
        cache.put("no.org", RecordType::A, &answer(None), now);
        assert!(cache.get("no.org", RecordType::A, now + Duration::from_secs(9)).is_some());
        assert!(cache.get("no.org", RecordType::A, now + Duration::from_secs(11)).is_none());
        assert!(cache.get("a.org", RecordType::AAAA, now).is_none());
    }
}
