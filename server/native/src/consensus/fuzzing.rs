//! A member of three against messages that no correct member sends.

use arbitrary::{Arbitrary, Result, Unstructured};
use prost::Message as _;
use raft::eraftpb::{ConfState, Entry, HardState, Message, MessageType};
use raft::{Config, StateRole};

use super::engine::Engine;
use super::guard::Trust;
use super::node::{apply_conf_change, step};
use super::payload;
use super::ready_tracker::ReadyTracker;
use super::start::StoredState;

const OWN: u64 = 1;
const LEADER: u64 = 2;
const MOST_MESSAGES: usize = 24;

/// No sequence of messages breaks the member, and a legitimate leader can lead it afterwards.
pub fn raft_messages(input: &[u8]) {
    let mut source = Unstructured::new(input);
    let mut member = Member::start();
    // An input that has run out gives no more messages.
    let _ = member.live(&mut source);
    member.follows_a_legitimate_leader();
}

struct Member {
    engine: Engine,
    ready_tracker: ReadyTracker,
    trust: Trust,
}

impl Member {
    /// Node 1 of three, in term 3, with entries 2..5, of which 3 are committed and applied.
    fn start() -> Self {
        let config = Config {
            id: OWN,
            election_tick: 10,
            heartbeat_tick: 2,
            pre_vote: true,
            check_quorum: true,
            applied: 3,
            ..Default::default()
        };
        let entry = |index| Entry {
            index,
            term: index / 2 + 1,
            data: b"x".to_vec(),
            ..Default::default()
        };
        let stored = StoredState {
            applied: 3,
            hard_state: HardState {
                term: 3,
                vote: 0,
                commit: 3,
            },
            conf_state: ConfState {
                voters: vec![OWN, LEADER, 3],
                ..Default::default()
            },
            base: (1, 1),
            entries: (2..6).map(entry).collect(),
        };
        stored.check().expect("the state is sound");
        let engine = Engine::start(&config, stored).expect("it starts");
        Member {
            engine,
            ready_tracker: ReadyTracker::new(3, (3, 0)),
            trust: Trust::new(true, 1 << 20),
        }
    }

    fn live(&mut self, source: &mut Unstructured<'_>) -> Result<()> {
        for _ in 0..MOST_MESSAGES {
            match source.int_in_range(0..=15)? {
                0 => self.run(|node| node.tick()),
                3 if source.ratio(1, 8)? => self.trust.confirm(near(source, 1 << 40)?),
                1 => self.campaign(),
                2 => self.receive(<&[u8]>::arbitrary(source)?),
                _ => {
                    let message = message(source, &self.engine)?;
                    self.receive(&message.encode_to_vec());
                }
            }
            self.work();
        }
        Ok(())
    }

    fn receive(&mut self, bytes: &[u8]) {
        let _ = step(&mut self.engine, bytes, &self.trust, false);
        assert!(!self.engine.is_broken(), "raft panicked");
    }

    fn run<T>(&mut self, step: impl FnOnce(&mut raft::RawNode<super::log::Log>) -> T) {
        assert!(self.engine.run(step).is_ok(), "raft panicked");
    }

    fn campaign(&mut self) {
        if super::guard::may_campaign(self.engine.raft()) {
            self.run(|node| node.campaign());
        }
    }

    /// Persist and apply whatever raft hands out.
    fn work(&mut self) {
        for _ in 0..100 {
            let idle = self.engine.run(|node| !node.has_ready());
            if idle.expect("raft panicked") {
                return;
            }
            let taken = self.ready_tracker.take(&mut self.engine, |ready, _| {
                let committed = ready.take_committed_entries();
                Ok((
                    ready.number(),
                    ready.snapshot().get_metadata().index,
                    committed,
                ))
            });
            let (number, installed, committed) = taken.expect("raft panicked");
            let durable = self.ready_tracker.durable(&mut self.engine, number);
            assert!(durable.is_ok(), "raft panicked");
            if installed != 0 {
                self.applied(installed);
            }
            for entry in committed {
                let readable = payload::check(&entry);
                assert!(entry.index <= 5 || readable.is_ok(), "{readable:?}");
                if entry.entry_type != 0 {
                    let _ = apply_conf_change(&mut self.engine, &entry.data);
                }
                self.applied(entry.index);
            }
            assert!(!self.engine.is_broken(), "raft panicked");
        }
        panic!("there is no end to the work");
    }

    fn applied(&mut self, index: u64) {
        assert!(self.ready_tracker.applied(&mut self.engine, index).is_ok());
    }

    /// No message may have moved the member to a term that no other can reach.
    fn follows_a_legitimate_leader(&mut self) {
        self.work();
        let term = self.engine.raft().term + 1;
        let mut heartbeat = Message {
            to: OWN,
            from: LEADER,
            term,
            ..Default::default()
        };
        heartbeat.set_msg_type(MessageType::MsgHeartbeat);
        self.receive(&heartbeat.encode_to_vec());
        self.work();
        let raft = self.engine.raft();
        assert_eq!(
            (raft.term, raft.leader_id, raft.state),
            (term, LEADER, StateRole::Follower)
        );
    }
}

/// A number near an interesting one, rarely an arbitrary one.
fn near(source: &mut Unstructured<'_>, here: u64) -> Result<u64> {
    Ok(match source.int_in_range(0..=7)? {
        0 => u64::arbitrary(source)?,
        1 => 1 << source.int_in_range(0..=63)?,
        2 => 0,
        _ => (here + source.int_in_range(0..=4)?).saturating_sub(2),
    })
}

fn entry(source: &mut Unstructured<'_>, index: u64, term: u64) -> Result<Entry> {
    Ok(Entry {
        entry_type: *source.choose(&[0, 0, 0, 1, 2, 7])?,
        index: near(source, index)?,
        term: near(source, term)?,
        data: Vec::<u8>::arbitrary(source)?,
        context: Vec::<u8>::arbitrary(source)?,
        ..Default::default()
    })
}

/// A message of any kind whose numbers are plausible in the member's present state, or nearly so.
fn message(source: &mut Unstructured<'_>, engine: &Engine) -> Result<Message> {
    let raft = engine.raft();
    let (term, last) = (raft.term, raft.raft_log.last_index());
    let mut message = Message {
        msg_type: source.int_in_range(0..=20)?,
        to: *source.choose(&[OWN, OWN, OWN, OWN, 3, 0])?,
        from: *source.choose(&[LEADER, LEADER, 3, OWN, 9, 0, u64::MAX])?,
        term: near(source, term)?,
        log_term: near(source, term)?,
        index: near(source, last)?,
        commit: near(source, raft.raft_log.committed)?,
        commit_term: near(source, term)?,
        reject: bool::arbitrary(source)?,
        reject_hint: near(source, last)?,
        context: Vec::<u8>::arbitrary(source)?,
        ..Default::default()
    };
    for ahead in 1..=source.int_in_range(0..=3)? {
        let next = entry(source, message.index.saturating_add(ahead), term)?;
        message.entries.push(next);
    }
    if bool::arbitrary(source)? {
        let metadata = message.mut_snapshot().mut_metadata();
        metadata.index = near(source, last)?;
        metadata.term = near(source, term)?;
        metadata.mut_conf_state().voters = Vec::arbitrary(source)?;
    }
    Ok(message)
}
