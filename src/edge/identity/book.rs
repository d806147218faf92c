//! What became of callers' tokens at one token endpoint: who waits for which, what is known of each and for how
//! long, and how soon it may be asked about again. Knows neither clock nor thread; those are `exchange`'s.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::base::{Moment, ShardId};
use crate::gateway::keys::Digest;
use crate::gateway::token::SubjectToken;
use crate::shard::AccessToken;

/// A caller's token that was refused is not asked about again before this, nor is one exchanged again whose last
/// exchange its server has refused: neither the caller nor a broken server can make us ask in a storm.
pub(super) const AGAIN_MIN: Duration = Duration::from_secs(5);
/// While an endpoint cannot be asked nobody waits for it; so long after it could not, it is tried again.
pub(super) const TROUBLE_LASTS: Duration = Duration::from_secs(1);

/// A token, or why there is none, as the caller is told.
pub(super) type Outcome = Result<AccessToken, Arc<str>>;

/// See the module.
pub(super) struct Book {
    entries: BTreeMap<Digest, Entry>,
    /// Those that are to be exchanged, in the order in which they came.
    line: VecDeque<Arc<SubjectToken>>,
    /// The limit `exchanged_max`.
    max: usize,
    /// The endpoint could not be asked, and why; until then.
    trouble: Option<(Arc<str>, Moment)>,
}

#[derive(Default)]
struct Entry {
    /// What came of it last, and until when that holds.
    known: Option<(Outcome, Moment)>,
    /// When that was.
    known_since: Moment,
    /// Shards that wait. The token is in line, or being exchanged, while there are any.
    waiting: Vec<ShardId>,
}

impl Book {
    pub(super) const fn new(max: usize) -> Self {
        Self { entries: BTreeMap::new(), line: VecDeque::new(), max, trouble: None }
    }

    /// A shard wants a token in exchange for a caller's, and another than a `refused` one. What it is answered at
    /// once, and for how long that holds; if nothing, it waits.
    pub(super) fn ask(
        &mut self,
        now: Moment,
        shard: ShardId,
        subject: &Arc<SubjectToken>,
        refused: Option<&AccessToken>,
    ) -> Option<(Outcome, Duration)> {
        let trouble = self.trouble(now);
        let Some(entry) = self.entry(now, subject.digest()) else {
            let why = "too many callers' tokens are exchanged at once: limit exchanged_max";
            return Some((Err(why.into()), TROUBLE_LASTS));
        };
        if !entry.waiting.is_empty() {
            entry.waiting.push(shard);
            return None;
        }
        if let Some((outcome, until)) = entry.known.as_ref().filter(|(_, until)| *until > now) {
            if outcome.as_ref().is_ok_and(|token| refused == Some(token)) {
                let again = entry.known_since.after(AGAIN_MIN);
                if again > now {
                    let why =
                        "the server refuses the token that was exchanged for its caller's just now";
                    return Some((Err(why.into()), again.since(now)));
                }
            } else {
                return Some((outcome.clone(), until.since(now)));
            }
        }
        if let Some((why, left)) = trouble {
            return Some((Err(why), left));
        }
        entry.waiting.push(shard);
        self.line.push_back(Arc::clone(subject));
        None
    }

    /// The next token to exchange.
    pub(super) fn next(&mut self) -> Option<Arc<SubjectToken>> {
        self.line.pop_front()
    }

    /// Why the endpoint is not asked just now, and for how long, if so.
    pub(super) fn trouble(&self, now: Moment) -> Option<(Arc<str>, Duration)> {
        let (why, until) = self.trouble.as_ref().filter(|(_, until)| *until > now)?;
        Some((Arc::clone(why), until.since(now)))
    }

    /// The endpoint could not be asked.
    pub(super) fn note_trouble(&mut self, now: Moment, why: &Arc<str>) {
        self.trouble = Some((Arc::clone(why), now.after(TROUBLE_LASTS)));
    }

    /// What came of a token, and for how long that holds. Those who wait for it are told.
    pub(super) fn done(
        &mut self,
        now: Moment,
        subject: Digest,
        outcome: Outcome,
        lasts: Duration,
    ) -> Vec<ShardId> {
        let Some(entry) = self.entries.get_mut(&subject) else { return Vec::new() };
        entry.known = Some((outcome, now.after(lasts)));
        entry.known_since = now;
        std::mem::take(&mut entry.waiting)
    }

    /// The entry of a token; none if there is no room for another.
    fn entry(&mut self, now: Moment, subject: Digest) -> Option<&mut Entry> {
        if !self.entries.contains_key(&subject) && self.entries.len() >= self.max {
            let holds = |entry: &Entry| {
                !entry.waiting.is_empty()
                    || entry.known.as_ref().is_some_and(|(_, until)| *until > now)
            };
            self.entries.retain(|_, entry| holds(entry));
            if self.entries.len() >= self.max {
                // Every second of those that nobody waits for, so that this is not done each time.
                let mut goes = false;
                self.entries.retain(|_, entry| {
                    goes = entry.waiting.is_empty() && !goes;
                    !goes
                });
            }
            if self.entries.len() >= self.max {
                return None;
            }
        }
        Some(self.entries.entry(subject).or_default())
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    const HERE: ShardId = ShardId(0);
    const THERE: ShardId = ShardId(1);
    const LASTS: Duration = Duration::from_mins(1);

    fn subject(name: usize) -> Arc<SubjectToken> {
        let part = |json: &str| URL_SAFE_NO_PAD.encode(json);
        let (head, signature) = (part(r#"{"alg":"ES256"}"#), part("s"));
        let text =
            format!("{head}.{}.{signature}", part(&format!(r#"{{"sub":"{name}","exp":9}}"#)));
        Arc::new(SubjectToken::read(text.as_bytes()).expect("a token"))
    }

    fn token(name: &str) -> AccessToken {
        AccessToken(format!("Bearer {name}").into())
    }

    fn at(secs: u64) -> Moment {
        Moment::from_micros(secs * 1_000_000)
    }

    #[test]
    fn all_who_want_one_token_at_once_share_one_exchange_and_others_theirs() {
        let mut book = Book::new(100);
        let (alice, bob) = (subject(0), subject(1));
        assert_eq!(book.ask(at(0), HERE, &alice, None), None);
        assert_eq!(book.ask(at(0), THERE, &alice, None), None);
        assert_eq!(book.ask(at(0), THERE, &bob, None), None);
        assert_eq!(book.next(), Some(Arc::clone(&alice)));
        assert_eq!(book.next(), Some(Arc::clone(&bob)));
        assert_eq!(book.next(), None);
        let told = book.done(at(1), alice.digest(), Ok(token("a")), LASTS);
        assert_eq!(told, [HERE, THERE]);
        let known = book.ask(at(31), HERE, &alice, None);
        assert_eq!(
            known,
            Some((Ok(token("a")), LASTS / 2)),
            "for as long as it lasts, and no longer"
        );
        assert_eq!(book.ask(at(31), HERE, &bob, None), None, "his is still under way");
        assert_eq!(book.done(at(32), bob.digest(), Ok(token("b")), LASTS), [THERE, HERE]);
        assert_eq!(book.ask(at(61), HERE, &alice, None), None);
        assert_eq!(book.next(), Some(alice), "it is over: another is had");
    }

    #[test]
    fn a_token_that_its_server_refuses_is_had_anew_once_in_a_while() {
        let mut book = Book::new(100);
        let alice = subject(0);
        book.ask(at(0), HERE, &alice, None);
        book.next();
        book.done(at(0), alice.digest(), Ok(token("a")), LASTS);
        let early = book.ask(at(1), HERE, &alice, Some(&token("a")));
        assert!(matches!(early, Some((Err(_), left)) if left.as_secs() == 4));
        assert_eq!(book.ask(at(1), THERE, &alice, None).unwrap().0, Ok(token("a")), "others");
        assert_eq!(book.ask(at(5), HERE, &alice, Some(&token("a"))), None);
        assert!(book.next().is_some());
        book.done(at(5), alice.digest(), Ok(token("b")), LASTS);
        let newer = book.ask(at(5), THERE, &alice, Some(&token("a")));
        assert_eq!(newer.unwrap().0, Ok(token("b")), "another shard has seen to it");
    }

    #[test]
    fn what_is_refused_is_not_asked_again_for_a_while_and_trouble_stops_all() {
        let mut book = Book::new(100);
        let (alice, bob) = (subject(0), subject(1));
        book.ask(at(0), HERE, &alice, None);
        book.next();
        book.done(at(0), alice.digest(), Err("no".into()), AGAIN_MIN);
        assert_eq!(book.ask(at(4), HERE, &alice, None).unwrap().0, Err("no".into()));
        assert_eq!(book.ask(at(4), HERE, &bob, None), None, "of others it says nothing");
        book.note_trouble(at(4), &"down".into());
        book.done(at(4), bob.digest(), Err("down".into()), TROUBLE_LASTS);
        let carol = subject(2);
        assert_eq!(book.ask(at(4), HERE, &carol, None).unwrap().0, Err("down".into()));
        assert_eq!(book.ask(at(5), HERE, &carol, None), None);
        assert_eq!(book.ask(at(5), HERE, &alice, None), None);
    }

    #[test]
    fn the_book_is_bounded_and_forgets_nobody_who_waits() {
        let mut book = Book::new(10);
        for number in 0..100 {
            let subject = subject(number);
            assert_eq!(book.ask(at(0), HERE, &subject, None), None);
            book.next();
            book.done(at(0), subject.digest(), Ok(token("x")), LASTS);
            assert!(book.entries.len() <= 10);
        }
        let mut refused = 0;
        for number in 100..120 {
            let answer = book.ask(at(0), HERE, &subject(number), None);
            refused += usize::from(answer.is_some_and(
                |(outcome, _)| matches!(outcome, Err(why) if why.contains("exchanged_max")),
            ));
        }
        assert_eq!(refused, 10, "all places are taken by those who wait");
    }
}
