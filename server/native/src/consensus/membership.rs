//! Membership changes: builds and validates them; a leader that they remove steps down.

use raft::eraftpb::{ConfChangeSingle, ConfChangeTransition, ConfChangeV2};
use raft::{Changer, Raft, StateRole, INVALID_ID};

use super::envelope::kind_of;
use super::log::Log;
use super::proposal::leader_known;

pub fn build(changes: &[(String, u64)], transition: &str) -> Result<ConfChangeV2, String> {
    let mut change = ConfChangeV2::default();
    change.set_transition(match transition {
        "auto" => ConfChangeTransition::Auto,
        "implicit" => ConfChangeTransition::Implicit,
        "explicit" => ConfChangeTransition::Explicit,
        other => {
            return Err(format!(
                "transition {other:?} is none of auto, implicit, explicit"
            ));
        }
    });
    for (name, id) in changes {
        let Some(kind) = kind_of(name) else {
            return Err(format!(
                "change {name:?} is none of add_voter, add_learner, remove"
            ));
        };
        if *id == 0 {
            return Err(format!("{name} needs a node id other than 0"));
        }
        let mut single = ConfChangeSingle {
            node_id: *id,
            ..Default::default()
        };
        single.set_change_type(kind);
        change.changes.push(single);
    }
    Ok(change)
}

/// Check whether the change fits the present configuration, without changing it.
pub fn validate(raft: &Raft<Log>, change: &ConfChangeV2) -> raft::Result<()> {
    let mut changer = Changer::new(raft.prs());
    if change.leave_joint() {
        changer.leave_joint()?;
    } else if let Some(auto_leave) = change.enter_joint() {
        changer.enter_joint(auto_leave, &change.changes)?;
    } else {
        changer.simple(&change.changes)?;
    }
    Ok(())
}

/// Check that leadership can go to the node; the error says why not.
pub fn check_transferee(raft: &Raft<Log>, to: u64) -> Result<(), String> {
    if !leader_known(raft) {
        return Err("no leader is known that could hand over: wait for an election".into());
    }
    let conf = raft.prs().conf();
    if conf.learners().contains(&to) || !conf.voters().contains(to) {
        return Err(format!("node {to} is no voter: leadership cannot go there"));
    }
    Ok(())
}

/// Raft lets a removed or demoted leader go on leading, and its next step would panic.
pub fn step_down_if_removed(raft: &mut Raft<Log>) {
    if raft.state == StateRole::Leader && !raft.promotable() {
        let term = raft.term;
        raft.become_follower(term, INVALID_ID);
    }
}
