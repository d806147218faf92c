//! Callers' tokens, exchanged for others that an upstream takes (RFC 8693): by threads of their own, a few at once,
//! so that a token endpoint that is slow for one caller is not slow for all. What is known is in `book`.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
#[expect(clippy::disallowed_types, reason = "a thread of the edge's, which no test drives")]
use std::time::{Instant, SystemTime};

use super::book::{AGAIN_MIN, Book, Outcome, TROUBLE_LASTS};
use super::endpoint::{Endpoint, Refusal, Token, used_for};
use crate::base::{Moment, ShardId};
use crate::edge::config::{Exchange, Grant};
use crate::gateway::keys::Digest;
use crate::gateway::token::SubjectToken;
use crate::shard::{AccessToken, Exchanged, Post};

/// Requests to one token endpoint at once.
const AT_ONCE: usize = 4;
/// Between two lines of the log about one endpoint.
const TELL_MIN: Duration = Duration::from_secs(1);

const NONE_NOW: &str = "the authorization server exchanges no tokens just now; try again later";
const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// What the thread that keeps the book is told.
pub(super) enum Word {
    /// See [`crate::shard::Notice::Exchange`].
    Wanted { shard: ShardId, subject: Arc<SubjectToken>, refused: Option<AccessToken> },
    /// A worker is done with a token, and free.
    Done { worker: usize, subject: Arc<SubjectToken>, answer: Result<Token, Refusal> },
}

/// See the module. One upstream's.
pub(super) struct Exchanger {
    pub(super) upstream: usize,
    name: String,
    book: Book,
    endpoint: Arc<Endpoint>,
    words: (Sender<Word>, Receiver<Word>),
    /// What each worker is handed; and those that are free.
    workers: Vec<Sender<Arc<SubjectToken>>>,
    free: Vec<usize>,
    /// How many were not exchanged, and when the log was told of one.
    refusals: u64,
    told: Option<Moment>,
}

impl Exchanger {
    /// `max` is the limit `exchanged_max`.
    pub(super) fn new(upstream: usize, name: String, grant: Grant, max: usize) -> io::Result<Self> {
        let (book, endpoint) = (Book::new(max), Arc::new(Endpoint::new(grant)?));
        let (workers, free) = (Vec::new(), Vec::new());
        let words = channel();
        Ok(Self { upstream, name, book, endpoint, words, workers, free, refusals: 0, told: None })
    }

    /// Where wishes go. What waits there is bounded: a shard wishes for each token once until it is answered, and
    /// for so many at most.
    pub(super) fn desk(&self) -> Sender<Word> {
        self.words.0.clone()
    }

    /// Starts those who ask.
    pub(super) fn hire(&mut self) -> io::Result<()> {
        for worker in 0..AT_ONCE {
            let (hand, jobs) = channel::<Arc<SubjectToken>>();
            let (endpoint, done) = (Arc::clone(&self.endpoint), self.desk());
            let thread = std::thread::Builder::new().name(format!("exchange-{worker}"));
            thread.spawn(move || {
                for subject in jobs {
                    let answer = ask(&endpoint, &subject);
                    if done.send(Word::Done { worker, subject, answer }).is_err() {
                        return;
                    }
                }
            })?;
            self.workers.push(hand);
            self.free.push(worker);
        }
        Ok(())
    }

    /// Keeps the book for the life of the process.
    #[expect(clippy::disallowed_types, reason = "a thread of the edge's, which no test drives")]
    pub(super) fn run(&mut self, posts: &[Post]) {
        let begun = Instant::now();
        while let Ok(word) = self.words.1.recv() {
            let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
            let now = Moment::from_micros(micros);
            match word {
                Word::Wanted { shard, subject, refused } => {
                    let answer = self.book.ask(now, shard, &subject, refused.as_ref());
                    if let Some((outcome, lasts)) = answer {
                        self.tell(posts, shard, subject.digest(), outcome, lasts);
                    }
                }
                Word::Done { worker, subject, answer } => {
                    self.free.push(worker);
                    let (outcome, lasts) = self.judge(now, &subject, answer);
                    self.settle(now, posts, subject.digest(), &outcome, lasts);
                }
            }
            self.hand_out(now, posts);
        }
    }

    fn hand_out(&mut self, now: Moment, posts: &[Post]) {
        while let Some(worker) = self.free.pop() {
            let Some(subject) = self.book.next() else { return self.free.push(worker) };
            if let Some((why, lasts)) = self.book.trouble(now) {
                // Whoever is in line would wait for what those before have waited for in vain.
                self.free.push(worker);
                self.settle(now, posts, subject.digest(), &Err(why), lasts);
            } else if left(&subject).is_zero() {
                self.free.push(worker);
                let why = "its caller's access token has expired; get a new one";
                self.settle(now, posts, subject.digest(), &Err(why.into()), AGAIN_MIN);
            } else if let Some(hand) = self.workers.get(worker) {
                drop(hand.send(subject));
            }
        }
    }

    /// What an answer means to its caller, and for how long. What it means to the operator goes to the log.
    fn judge(
        &mut self,
        now: Moment,
        subject: &SubjectToken,
        answer: Result<Token, Refusal>,
    ) -> (Outcome, Duration) {
        let refusal = match answer {
            // Never past the end of what it was had for.
            Ok((token, lasts)) => match used_for(lasts.min(left(subject))) {
                // Whoever waits for it would ask for another at once.
                Duration::ZERO => Refusal::Odd("the token is good for no time".to_owned()),
                lasts => return (Ok(token), lasts),
            },
            Err(refusal) => refusal,
        };
        self.refusals += 1;
        if self.told.is_none_or(|told| now.since(told) >= TELL_MIN) {
            self.told = Some(now);
            let (upstream, so_far) = (self.name.as_str(), self.refusals);
            tracing::warn!(upstream, why = %refusal, so_far, "a caller's token was not exchanged");
        }
        match refusal {
            Refusal::Error(error) => (Err(refused(&error).into()), AGAIN_MIN),
            Refusal::Odd(_) => (Err(NONE_NOW.into()), AGAIN_MIN),
            Refusal::Trouble(_) => {
                let why: Arc<str> = NONE_NOW.into();
                self.book.note_trouble(now, &why);
                (Err(why), TROUBLE_LASTS)
            }
        }
    }

    fn settle(
        &mut self,
        now: Moment,
        posts: &[Post],
        subject: Digest,
        outcome: &Outcome,
        lasts: Duration,
    ) {
        for shard in self.book.done(now, subject, outcome.clone(), lasts) {
            self.tell(posts, shard, subject, outcome.clone(), lasts);
        }
    }

    fn tell(
        &self,
        posts: &[Post],
        shard: ShardId,
        subject: Digest,
        outcome: Outcome,
        lasts: Duration,
    ) {
        if let Some(post) = posts.get(usize::from(shard.0)) {
            post.exchanged(Exchanged { upstream: self.upstream, subject, outcome, lasts });
        }
    }
}

/// Asks for a token in exchange for a caller's (RFC 8693 section 2.1).
fn ask(endpoint: &Endpoint, subject: &SubjectToken) -> Result<Token, Refusal> {
    let Some(Exchange { audience, subject_token_type }) = &endpoint.grant.exchange else {
        return Err(Refusal::Trouble("this grant exchanges nothing".to_owned()));
    };
    let mut fields = vec![
        ("grant_type", GRANT_TYPE),
        ("subject_token", subject.text()),
        ("subject_token_type", subject_token_type.urn()),
        ("requested_token_type", ACCESS_TOKEN),
    ];
    fields.extend(audience.as_deref().map(|audience| ("audience", audience)));
    endpoint.ask(&fields)
}

/// How long a caller's token is still good.
#[expect(clippy::disallowed_types, reason = "a thread of the edge's, which no test drives")]
fn left(subject: &SubjectToken) -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Duration::from_secs(subject.until()).saturating_sub(now)
}

/// What an error of the endpoint's means to a caller (RFC 6749 section 5.2, RFC 8693 section 2.2.2).
fn refused(error: &str) -> String {
    let remedy = match error {
        "invalid_grant" | "invalid_request" => "get a new access token",
        "invalid_target" | "invalid_scope" => "it may not be used for this server",
        // Ours, not the caller's.
        _ => "the gateway's log says more",
    };
    format!("the authorization server does not exchange its caller's token: {error}; {remedy}")
}
