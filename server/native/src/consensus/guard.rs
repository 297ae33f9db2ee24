//! Checks messages before they are stepped into raft, which panics on messages that no correct
//! member sends. A listener on a network may receive such messages; they stop here.

use std::collections::HashMap;

use raft::eraftpb::{Entry, EntryType, Message, MessageType};
use raft::{Raft, StateRole};

use super::convert::{check_conf_state, CEILING};
use super::log::Log;
use super::payload::{self, Origin};

/// How far an index may lie behind the end of this node's log: more entries than a cluster writes.
const MAX_INDEX_AHEAD: u64 = 1 << 40;

/// No member confirms a term beyond it: the range up to the ceiling is left for elections.
const HIGHEST_CONFIRMED: u64 = 3 << 60;

/// How far a proposal's incarnation may lie above the newest known one: more restarts than there
/// are between two writes.
const MAX_INCARNATIONS_AHEAD: u64 = 1 << 20;

/// What to do with a message that is not refused.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    Step,
    /// Legitimate, but raft must not see it in the present state.
    Drop,
    /// Its term lies so far ahead that its sender has to confirm it.
    Unconfirmed(String),
}

/// Which messages this node accepts.
pub struct Trust {
    /// Whether entries must be ones that the database can apply.
    payloads: bool,
    /// How far a term may lie ahead.
    terms_ahead: u64,
    /// The highest term in which a member was found by asking it at its own address.
    confirmed_term: u64,
    /// The newest incarnation of each member that has had a proposal applied.
    incarnations: HashMap<u64, u64>,
}

impl Trust {
    pub fn new(payloads: bool, terms_ahead: u64) -> Self {
        Trust {
            payloads,
            terms_ahead,
            confirmed_term: 0,
            incarnations: HashMap::new(),
        }
    }

    pub fn note_incarnation(&mut self, member: u64, incarnation: u64) {
        self.incarnations.insert(member, incarnation);
    }

    /// Check the origin of a proposal: applying an entry voids all proposals of its origin in
    /// earlier incarnations, so an incarnation far ahead would void every later write of a member.
    fn check_origin(&self, raft: &Raft<Log>, origin: &Origin) -> Result<(), String> {
        let (member, theirs) = (origin.member, origin.incarnation);
        if raft.prs().get(member).is_none() {
            return Err(format!("a proposal of {member}, which is no member"));
        }
        let known = self.incarnations.get(&member).copied().unwrap_or(0);
        if theirs > known.saturating_add(MAX_INCARNATIONS_AHEAD) {
            return Err(format!(
                "a proposal of member {member} in incarnation {theirs}, which is beyond reason: \
                 the newest known is {known}"
            ));
        }
        Ok(())
    }

    pub fn confirm(&mut self, term: u64) {
        if term <= HIGHEST_CONFIRMED {
            self.confirmed_term = self.confirmed_term.max(term);
        }
    }

    /// Judge a term beyond the highest accepted one.
    fn far(&self, raft: &Raft<Log>, m: &Message) -> Result<Verdict, String> {
        let (theirs, own) = (m.term, raft.term);
        if theirs > HIGHEST_CONFIRMED.saturating_add(self.terms_ahead) {
            return Err(format!(
                "term {theirs} is beyond reason, for this node is in term {own}"
            ));
        }
        Ok(Verdict::Unconfirmed(format!(
            "term {theirs} lies far ahead of this node's term {own}: member {} has to confirm it",
            m.from
        )))
    }

    fn highest_term(&self, raft: &Raft<Log>) -> u64 {
        let known = raft.term.max(self.confirmed_term);
        known.saturating_add(self.terms_ahead)
    }
}

/// Whether an election may start: raft relies on a log that is durable and on an installed
/// snapshot having been applied.
pub fn may_campaign(raft: &Raft<Log>) -> bool {
    raft.promotable()
        && raft.raft_log.persisted == raft.raft_log.last_index()
        && raft.raft_log.applied + 1 >= raft.raft_log.first_index()
}

/// Judge a message from another member; the error names the contradiction.
pub fn judge(raft: &Raft<Log>, m: &Message, trust: &Trust) -> Result<Verdict, String> {
    use MessageType as T;

    let Some(kind) = MessageType::from_i32(m.msg_type) else {
        return Err(format!("unknown message type {}", m.msg_type));
    };
    check_addresses(raft, m, kind)?;
    let highest = trust.highest_term(raft);
    if m.term > highest {
        return trust.far(raft, m);
    }
    check_numbers(raft, m, highest)?;
    let termless = matches!(kind, T::MsgPropose | T::MsgReadIndex);
    if termless != (m.term == 0) {
        return Err(format!("{} with term {}", kind.as_str_name(), m.term));
    }
    match kind {
        T::MsgHup | T::MsgBeat | T::MsgUnreachable | T::MsgSnapStatus | T::MsgCheckQuorum => {
            return Err(format!(
                "{} never travels between members",
                kind.as_str_name()
            ))
        }
        T::MsgPropose if m.entries.is_empty() => return Err("a proposal without entries".into()),
        T::MsgPropose => check_proposed(&m.entries)?,
        T::MsgReadIndex | T::MsgReadIndexResp
            if m.entries.len() != 1 || m.entries[0].data.is_empty() =>
        {
            return Err("a read index message without its one context".into())
        }
        T::MsgAppend => check_append(m)?,
        T::MsgHeartbeat => check_commit(raft, m)?,
        T::MsgSnapshot => check_snapshot(raft, m)?,
        T::MsgAppendResponse => check_acknowledged(raft, m)?,
        _ => {}
    }
    // The entries of read barriers hold their contexts.
    if trust.payloads && matches!(kind, T::MsgPropose | T::MsgAppend) {
        for entry in &m.entries {
            let origin = payload::origin(entry)?;
            // A leader has checked what it appends, and the result is the same on every member.
            if let (T::MsgPropose, Some(origin)) = (kind, origin) {
                trust.check_origin(raft, &origin)?;
            }
        }
    }
    Ok(verdict(raft, kind))
}

fn verdict(raft: &Raft<Log>, kind: MessageType) -> Verdict {
    let pass = match kind {
        // Raft cannot forward a request that was forwarded already.
        MessageType::MsgTransferLeader => raft.state == StateRole::Leader,
        MessageType::MsgTimeoutNow => raft.state == StateRole::Leader || may_campaign(raft),
        // Votes were asked for only after the log had become durable.
        MessageType::MsgRequestVoteResponse => {
            raft.state != StateRole::Candidate || may_campaign(raft)
        }
        _ => true,
    };
    if pass {
        Verdict::Step
    } else {
        Verdict::Drop
    }
}

fn check_addresses(raft: &Raft<Log>, m: &Message, kind: MessageType) -> Result<(), String> {
    if m.to != raft.id {
        return Err(format!(
            "a message for node {} reached node {}",
            m.to, raft.id
        ));
    }
    // A forwarded request for transfer names the transferee as its sender.
    let own = m.from == raft.id && kind != MessageType::MsgTransferLeader;
    if m.from == 0 || m.from > CEILING || own {
        return Err(format!(
            "a message to node {} claims to be from node {}",
            m.to, m.from
        ));
    }
    Ok(())
}

fn check_numbers(raft: &Raft<Log>, m: &Message, highest: u64) -> Result<(), String> {
    if let Some(term) = [m.log_term, m.commit_term]
        .into_iter()
        .find(|term| *term > highest)
    {
        return Err(format!("term {term} of an entry is beyond reason"));
    }
    for index in [m.index, m.commit, m.reject_hint] {
        check_index(raft, index)?;
    }
    if m.request_snapshot != 0 {
        return Err("a request for a snapshot, which no member sends".into());
    }
    Ok(())
}

fn check_index(raft: &Raft<Log>, index: u64) -> Result<(), String> {
    let last = raft.raft_log.last_index();
    if index > last + MAX_INDEX_AHEAD {
        return Err(format!(
            "index {index} is beyond reason, for this node's log ends at {last}"
        ));
    }
    Ok(())
}

/// Writes are passed on as proposals; changes of membership have a call of their own.
fn check_proposed(entries: &[Entry]) -> Result<(), String> {
    let normal = EntryType::EntryNormal as i32;
    match entries.iter().find(|entry| entry.entry_type != normal) {
        Some(other) => Err(format!("a proposal of type {}", other.entry_type)),
        None => Ok(()),
    }
}

/// Members write normal entries and conf changes of the second version, nothing else.
fn check_types(entries: &[Entry]) -> Result<(), String> {
    let known = [
        EntryType::EntryNormal as i32,
        EntryType::EntryConfChangeV2 as i32,
    ];
    match entries.iter().find(|e| !known.contains(&e.entry_type)) {
        Some(entry) => Err(format!("an entry of unknown type {}", entry.entry_type)),
        None => Ok(()),
    }
}

fn check_append(m: &Message) -> Result<(), String> {
    if (m.index == 0) != (m.log_term == 0) {
        return Err(format!(
            "append after index {} of term {}",
            m.index, m.log_term
        ));
    }
    if m.log_term > m.term {
        return Err(format!(
            "append after term {} in term {}",
            m.log_term, m.term
        ));
    }
    check_types(&m.entries)?;
    let (mut index, mut term) = (m.index, m.log_term.max(1));
    for entry in &m.entries {
        if entry.index != index + 1 || entry.term < term || entry.term > m.term {
            return Err(format!(
                "entry ({}, {}) cannot follow ({index}, {term}) in term {}",
                entry.index, entry.term, m.term
            ));
        }
        (index, term) = (entry.index, entry.term);
    }
    Ok(())
}

fn check_commit(raft: &Raft<Log>, m: &Message) -> Result<(), String> {
    let last = raft.raft_log.last_index();
    if m.term >= raft.term && m.commit > last {
        return Err(format!(
            "the leader believes this node has {} entries, but its log ends at {last}: \
             was its disk replaced? remove the member and add it again",
            m.commit
        ));
    }
    Ok(())
}

fn check_snapshot(raft: &Raft<Log>, m: &Message) -> Result<(), String> {
    let metadata = m.get_snapshot().get_metadata();
    let (index, term) = (metadata.index, metadata.term);
    if index == 0 || term == 0 || term > m.term {
        return Err(format!("snapshot ({index}, {term}) in term {}", m.term));
    }
    check_index(raft, index)?;
    check_conf_state(metadata.get_conf_state())?;
    let committed = raft.raft_log.committed;
    if index == committed && !raft.raft_log.match_term(index, term) {
        return Err(format!(
            "snapshot ({index}, {term}) contradicts the committed entry"
        ));
    }
    Ok(())
}

fn check_acknowledged(raft: &Raft<Log>, m: &Message) -> Result<(), String> {
    let last = raft.raft_log.last_index();
    if raft.state == StateRole::Leader && m.term == raft.term && !m.reject && m.index > last {
        return Err(format!(
            "node {} acknowledges entry {}, but the log ends at {last}",
            m.from, m.index
        ));
    }
    Ok(())
}
