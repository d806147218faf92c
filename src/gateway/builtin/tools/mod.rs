//! The tools that are part of the program. Each answers something real and shows one thing that a
//! gateway must carry: plain and structured results, errors, progress, files, questions to the user
//! and to the model.

mod add;
mod ask;
mod clock;
mod echo;
mod random;
mod read_text;
mod sleep;

use super::tool::Tool;

/// All of them, by name, the most called first: a lookup goes through the list from the front.
pub(super) fn embedded(has_folder: bool) -> Vec<(&'static str, Box<dyn Tool>)> {
    let mut tools: Vec<(&'static str, Box<dyn Tool>)> = vec![
        ("echo", Box::new(echo::Echo)),
        ("add", Box::new(add::Add)),
        ("clock", Box::new(clock::Clock)),
        ("sleep", Box::new(sleep::Sleep)),
        ("random", Box::new(random::Random)),
        ("ask_name", Box::new(ask::AskName)),
        ("ask_model", Box::new(ask::AskModel)),
    ];
    if has_folder {
        tools.push(("read_text", Box::new(read_text::ReadText)));
    }
    tools
}

pub(super) use ask::TOKENS_MAX;
pub(super) use sleep::{MS_MAX as SLEEP_MS_MAX, STEPS_MAX as SLEEP_STEPS_MAX};
