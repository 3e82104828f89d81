//! Which requests have been applied: part of the replicated state, so that every replica refuses the same repetitions.

use std::collections::BTreeMap;

use crate::{
    Outcome, RequestId,
    codec::{Malformed, Reader, Writer},
    command::{Header, read_outcome, write_outcome},
    intern::Interner,
};

/// Clients remembered; the one that has been silent for longest, by log index, goes first. A client is one start of one
/// member, so this many restarts must fall between a request and its late repetition before one could apply twice.
const CLIENTS: usize = 64;
/// Outcomes remembered per client. More than [`crate::consensus::IN_FLIGHT`], the most that a client waits for.
const OUTCOMES: usize = 8192;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Session {
    /// The log index of its newest request.
    heard: u64,
    /// Everything below was applied or will never be.
    oldest: u64,
    outcomes: BTreeMap<u64, Outcome>,
}

/// What is known of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Never,
    /// Applied; its outcome, unless the client said that it has it.
    Before(Option<Outcome>),
}

/// The clients and their recent requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sessions(BTreeMap<u64, Session>);

impl Sessions {
    pub(crate) fn seen(&self, id: RequestId) -> Seen {
        let Some(session) = self.0.get(&id.client) else { return Seen::Never };
        match session.outcomes.get(&id.sequence) {
            Some(outcome) => Seen::Before(Some(outcome.clone())),
            None if id.sequence < session.oldest => Seen::Before(None),
            None => Seen::Never,
        }
    }

    pub(crate) fn remember(&mut self, index: u64, header: Header, outcome: Outcome) {
        if !self.0.contains_key(&header.id.client) && self.0.len() >= CLIENTS {
            let silent = self.0.iter().min_by_key(|(_, session)| session.heard).map(|(client, _)| *client);
            silent.map(|client| self.0.remove(&client));
        }
        let session = self.0.entry(header.id.client).or_default();
        session.heard = index;
        session.oldest = session.oldest.max(header.oldest);
        session.outcomes.insert(header.id.sequence, outcome);
        while let Some(first) = session.outcomes.first_entry() {
            if *first.key() < session.oldest {
                first.remove();
            } else if session.outcomes.len() > OUTCOMES {
                session.oldest = session.outcomes.pop_first().map_or(session.oldest, |(sequence, _)| sequence + 1);
            } else {
                break;
            }
        }
    }

    /// One record for each client.
    pub(crate) fn clients(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.keys().copied()
    }

    pub(crate) fn write(&self, client: u64, writer: &mut Writer) {
        let Some(session) = self.0.get(&client) else { return };
        writer.number(client);
        writer.number(session.heard);
        writer.number(session.oldest);
        writer.number(session.outcomes.len() as u64);
        for (sequence, outcome) in &session.outcomes {
            writer.number(*sequence);
            write_outcome(writer, outcome);
        }
    }

    pub(crate) fn read(&mut self, reader: &mut Reader, interner: &mut Interner) -> Result<(), Malformed> {
        let client = reader.number()?;
        let mut session = Session { heard: reader.number()?, oldest: reader.number()?, outcomes: BTreeMap::new() };
        for _ in 0..reader.count()? {
            session.outcomes.insert(reader.number()?, read_outcome(reader, interner)?);
        }
        self.0.insert(client, session);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(client: u64, sequence: u64, oldest: u64) -> Header {
        Header { id: RequestId { client, sequence }, oldest }
    }

    #[test]
    fn proposals_are_deduplicated_by_client_and_sequence() {
        let mut sessions = Sessions::default();
        sessions.remember(1, header(1, 5, 4), Outcome::Committed(1));
        assert_eq!(sessions.seen(RequestId { client: 1, sequence: 5 }), Seen::Before(Some(Outcome::Committed(1))));
        assert_eq!(sessions.seen(RequestId { client: 1, sequence: 4 }), Seen::Never, "in flight, overtaken by 5");
        assert_eq!(sessions.seen(RequestId { client: 1, sequence: 3 }), Seen::Before(None));
        assert_eq!(sessions.seen(RequestId { client: 2, sequence: 5 }), Seen::Never);
    }

    #[test]
    fn answered_requests_are_forgotten() {
        let mut sessions = Sessions::default();
        for sequence in 1..=100 {
            sessions.remember(sequence, header(1, sequence, sequence), Outcome::Committed(sequence));
        }
        assert_eq!(sessions.0[&1].outcomes.len(), 1);
    }

    #[test]
    fn memory_is_bounded() {
        let mut sessions = Sessions::default();
        for client in 1..=CLIENTS as u64 + 1 {
            sessions.remember(client, header(client, 1, 1), Outcome::Committed(client));
        }
        assert_eq!(sessions.0.len(), CLIENTS);
        assert!(!sessions.0.contains_key(&1), "the one silent for longest goes");
        for sequence in 1..=OUTCOMES as u64 + 10 {
            sessions.remember(sequence, header(2, sequence, 1), Outcome::Committed(sequence));
        }
        assert_eq!(sessions.0[&2].outcomes.len(), OUTCOMES);
        assert_eq!(sessions.seen(RequestId { client: 2, sequence: 1 }), Seen::Before(None));
    }
}
