//! The tasks that hyper makes of streams. hyper looks at a stream's body only when the peer's window lets more
//! through, so a stream whose peer never widens it could not be ended from there: the task itself watches the
//! stream's link, and drops everything when that is dead. The peer then gets a reset.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use hyper::rt::Executor;

use crate::base::LinkId;
use crate::shard::Shard;
use crate::shard::domain::Domain;
use crate::shard::rt;

/// The link of a task's stream, once it is open.
type Name = Rc<Cell<Option<LinkId>>>;

/// One connection's.
pub(super) struct Tasks<D: Domain> {
    pub(super) shard: Rc<Shard<D>>,
    /// The task that is running.
    current: Rc<RefCell<Option<Name>>>,
}

impl<D: Domain> Tasks<D> {
    pub(super) fn new(shard: Rc<Shard<D>>) -> Self {
        Self { shard, current: Rc::default() }
    }

    /// Tells the running task which link it watches.
    pub(super) fn name(&self, id: LinkId) {
        if let Some(name) = &*self.current.borrow() {
            name.set(Some(id));
        }
    }
}

impl<D: Domain> Clone for Tasks<D> {
    fn clone(&self) -> Self {
        Self { shard: Rc::clone(&self.shard), current: Rc::clone(&self.current) }
    }
}

impl<D: Domain, F: Future<Output = ()> + 'static> Executor<F> for Tasks<D> {
    fn execute(&self, future: F) {
        rt::spawn(Watched { future, tasks: self.clone(), name: Name::default() });
    }
}

pin_project_lite::pin_project! {
    struct Watched<F, D: Domain> {
        #[pin]
        future: F,
        tasks: Tasks<D>,
        name: Name,
    }
}

impl<F: Future<Output = ()>, D: Domain> Future for Watched<F, D> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.name.get().is_some_and(|id| this.tasks.shard.core.borrow().is_dead(id)) {
            return Poll::Ready(());
        }
        this.tasks.current.replace(Some(Rc::clone(this.name)));
        let polled = this.future.poll(cx);
        this.tasks.current.replace(None);
        polled
    }
}
