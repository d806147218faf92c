//! Chores: what a flight that is about a task is for, and how far it has come. One answer to a client may take several
//! requests upstream; each is sent under a new id, by the same flight.

use super::id::Known;
use super::table::TaskKey;
use crate::base::{Moment, ShardId};
use crate::mcp::{Era, Method};

/// What the client wants.
#[derive(Debug)]
pub enum Goal {
    /// A call, and a task for an answer where the upstream makes one.
    Create,
    /// A call, and its result, although the upstream makes a task of it.
    Await,
    Get,
    Update,
    Cancel,
    /// `tasks/result`.
    Result,
    /// `tasks/list`.
    List(Listing),
}

/// A page of a list, task by task.
#[derive(Debug, Default)]
pub struct Listing {
    /// Those still to be asked about, the next one last.
    pub left: Vec<TaskKey>,
    /// Those that are known, with commas between.
    pub found: String,
    /// There are more, behind the task of this number.
    pub next: Option<u64>,
}

/// See the module.
#[derive(Debug)]
pub struct Chore {
    pub goal: Goal,
    /// What was asked upstream last.
    pub sent: Method,
    /// The task, as soon as there is one.
    pub known: Option<Known>,
    /// The task as its upstream told of it, while it is asked further.
    pub seen: Option<Box<str>>,
    /// When the whole must be over, from the first request on.
    pub until: Option<Moment>,
    /// The shard whose connection it is, where that is not this one's.
    pub relay: Option<ShardId>,
    /// Questions that have been answered: a task may still show them for a while.
    pub answered: Vec<Box<str>>,
}

impl Chore {
    pub const fn new(goal: Goal, known: Option<Known>) -> Self {
        Self {
            goal,
            sent: Method::ToolsCall,
            known,
            seen: None,
            until: None,
            relay: None,
            answered: Vec::new(),
        }
    }

    /// Whether it is about a call that may become a task.
    pub const fn is_call(&self) -> bool {
        matches!(self.goal, Goal::Create | Goal::Await)
    }

    /// Whether it takes as long as the task does.
    pub const fn is_long(&self) -> bool {
        matches!(self.goal, Goal::Result)
    }

    /// What an upstream of `to` is asked first for a client of `from`.
    pub const fn begins_with(&self, from: Era, to: Era) -> Method {
        match (&self.goal, from, to) {
            (Goal::Create | Goal::Await, ..) => Method::ToolsCall,
            (Goal::Update, ..) => Method::TasksUpdate,
            (Goal::Result, _, Era::Legacy) => Method::TasksResult,
            // What has ended cannot be cancelled in the old era.
            (Goal::Cancel, Era::Modern, _) | (Goal::Cancel, _, Era::Legacy) => Method::TasksCancel,
            (Goal::Get | Goal::List(_) | Goal::Result | Goal::Cancel, ..) => Method::TasksGet,
        }
    }
}
